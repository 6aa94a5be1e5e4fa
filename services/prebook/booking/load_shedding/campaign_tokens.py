"""Campaign tokens: so many bookings in each window, exactly, however many replicas there are.

As a coffee shop hands out no more cups than it can fill. A token is taken in the transaction that makes the booking,
and goes back with it where that fails; windows are those of the database's clock.
"""

import random
import time

from prebook.booking.store import BookingWork
from prebook.http.problems import Problem, retry_later_problem
from prebook.patterns.waiting_room import WaitingRoom
from prebook.runtime.settings import ServiceSettings

WINDOW_FULL = "campaign_window_full"


class CampaignTokens:
    """Who gets none is told when to come back: in the next windows, each at a time of its own."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._campaign, self._tokens_per_window = settings.campaign, settings.campaign_tokens
        self._window_s, self._waiting_room = settings.campaign_window_s, WaitingRoom()

    async def take(self, work: BookingWork, key: str) -> None:
        """Raises Problem where this window has none left."""
        if not self._tokens_per_window:
            return None
        opens_in_s = await work.take_token(self._campaign, self._tokens_per_window, self._window_s)
        if opens_in_s is None:
            return self._waiting_room.remove(key)
        raise self._window_full(key, opens_in_s)

    def _window_full(self, key: str, opens_in_s: float) -> Problem:
        per_s = self._tokens_per_window / self._window_s
        wait_s = self._waiting_room.reserve_wait_s(key, time.monotonic(), opens_in_s=opens_in_s, admissions_per_s=per_s)
        said = (
            f"campaign {self._campaign} takes {self._tokens_per_window} bookings in {self._window_s:g} s, and has them"
        )
        return retry_later_problem(503, WINDOW_FULL, said, wait_s + random.uniform(0.0, 1.0))
