"""The wall clock of a process: what it stamps messages with and judges deadlines, validity and signatures by.

Waiting, leases and pauses go by the monotonic clock or the database's, which nobody sets wrong in one process alone.
"""

import time
from datetime import UTC, datetime, timedelta


class WallClock:
    """May run ahead of the machine's (or behind, below zero) by ``skew_s`` seconds, as in a machine set wrongly."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s

    def utc_now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.skew_s)

    def unix_s(self) -> float:
        return time.time() + self.skew_s


WALL_CLOCK = WallClock()
"""This process's. Set once, when the process starts (PREBOOK_CLOCK_SKEW_S)."""
utc_now, unix_s = WALL_CLOCK.utc_now, WALL_CLOCK.unix_s
