"""The report: its numbers, what they mean in plain words, and how they are shown."""
