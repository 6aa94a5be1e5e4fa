"""Campaign tokens: so many bookings in each window, exactly, however many replicas there are.

As a coffee shop hands out no more cups than it can fill. A token is taken in the transaction that makes the booking,
and goes back with it where that fails; windows are those of the database's clock.
"""

import random
import time
from typing import Any

from prebook.booking.store import BookingWork
from prebook.http.problems import Problem, later
from prebook.patterns.waiting_room import WaitingRoom
from prebook.runtime.service import Running
from prebook.runtime.settings import Settings

FULL = "campaign_window_full"


class Tokens:
    """Who gets none is told when to come back: in the next windows, each at a time of its own."""

    def __init__(self, settings: Settings) -> None:
        self._campaign, self._most = settings.campaign, settings.campaign_tokens
        self._window_s, self._room = settings.campaign_window_s, WaitingRoom()

    async def take(self, work: BookingWork, key: str) -> None:
        """Raises Problem where this window has none left."""
        if not self._most:
            return None
        opens_in_s = await work.take_token(self._campaign, self._most, self._window_s)
        if opens_in_s is None:
            return self._room.entered(key)
        raise self._none_left(key, opens_in_s)

    def _none_left(self, key: str, opens_in_s: float) -> Problem:
        per_s = self._most / self._window_s
        wait_s = self._room.wait_s(key, time.monotonic(), opens_in_s=opens_in_s, per_s=per_s)
        said = f"campaign {self._campaign} takes {self._most} bookings in {self._window_s:g} s, and has them"
        return later(503, FULL, said, wait_s + random.uniform(0.0, 1.0))


def tokens(running: Running[Any]) -> Tokens:
    """For ``Running.one``."""
    return Tokens(running.settings)
