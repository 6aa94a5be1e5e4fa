"""Wall clock of a process: timestamps of messages, deadlines, validity periods and signatures.

Delays and leases use the monotonic clock or the database's clock instead, so that the wall clock of one process set
wrongly does not change them.
"""

import time
from datetime import UTC, datetime, timedelta


class WallClock:
    """Clock that runs ``skew_s`` seconds ahead of the machine's (behind it if negative), to test clock skew."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s

    def utc_now(self) -> datetime:
        """Current time in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.skew_s)

    def unix_s(self) -> float:
        """Current time in seconds since the Unix epoch."""
        return time.time() + self.skew_s


WALL_CLOCK = WallClock()
"""Clock of this process. Its skew is set once, when the process starts (PREBOOK_CLOCK_SKEW_S)."""
utc_now = WALL_CLOCK.utc_now
unix_s = WALL_CLOCK.unix_s
