"""``prebook archive``: the stream of all messages, and its replay."""
