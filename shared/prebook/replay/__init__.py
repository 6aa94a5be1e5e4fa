"""Replay: eligibility, the archive of messages, its receivers, and the replay from it. I/O goes through ports."""
