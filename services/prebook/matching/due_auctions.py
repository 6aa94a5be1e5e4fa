"""Auctions of this process that wait with an offer, so that the scan for overdue ones reads the database rarely."""

import time
from collections.abc import Callable

MAX_SCAN_INTERVAL_S = 2.0
"""Seconds after which a scan is due in any case: for auctions whose process has ended."""


class DueAuctions:
    """Due times of waiting auctions. It may miss some or list too many: the database decides what is overdue."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_at: dict[str, float] = {}
        self._scanned_at = clock()

    def add(self, booking_id: str, due_in_s: float) -> None:
        """Remember that an auction is due in so many seconds."""
        self._due_at[booking_id] = self._clock() + due_in_s

    def discard(self, booking_id: str) -> None:
        """Forget an auction that no longer waits."""
        self._due_at.pop(booking_id, None)

    def begin_scan(self) -> bool:
        """Return whether to scan now, and forget the auctions that are due, because the scan finds them."""
        now = self._clock()
        due = [booking_id for booking_id, at in self._due_at.items() if at <= now]
        if not due and now - self._scanned_at < MAX_SCAN_INTERVAL_S:
            return False
        self._scanned_at = now
        for booking_id in due:
            del self._due_at[booking_id]
        return True


DUE_AUCTIONS = DueAuctions()
"""Due times of this process: one process runs one service."""
