"""`prebook coupling`: how tightly the suite's parts, and parties outside, are coupled, and whether that is allowed."""
