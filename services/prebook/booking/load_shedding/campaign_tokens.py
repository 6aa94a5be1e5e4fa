"""Campaign tokens: an exact limit of bookings per time window, over all replicas.

A token is taken in the transaction that creates the booking, so a rollback returns it. Windows follow the database's
clock.
"""

import random
import time
from collections.abc import Hashable

from prebook.booking.store import BookingWork
from prebook.http.problems import Problem, retry_later_problem
from prebook.patterns.waiting_room import WaitingRoom
from prebook.runtime.settings import ServiceSettings

WINDOW_FULL = "campaign_window_full"


class CampaignTokens:
    """Limit of bookings per campaign window. Each refused request gets a reserved time in one of the next windows."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._campaign = settings.campaign
        self._tokens_per_window = settings.campaign_tokens
        self._window_s = settings.campaign_window_s
        self._waiting_room = WaitingRoom()

    async def take(self, work: BookingWork, key: Hashable) -> None:
        """Take a token for the booking of this key. Raises Problem (503) if the current window has none left."""
        if not self._tokens_per_window:
            return None
        opens_in_s = await work.take_token(self._campaign, self._tokens_per_window, self._window_s)
        if opens_in_s is None:
            return self._waiting_room.remove(key)
        raise self._window_full(key, opens_in_s)

    def _window_full(self, key: Hashable, opens_in_s: float) -> Problem:
        per_s = self._tokens_per_window / self._window_s
        wait_s = self._waiting_room.reserve_wait_s(key, time.monotonic(), opens_in_s=opens_in_s, admissions_per_s=per_s)
        detail = (
            f"campaign {self._campaign} takes {self._tokens_per_window} bookings in {self._window_s:g} s, "
            "and the current window is full"
        )
        return retry_later_problem(503, WINDOW_FULL, detail, wait_s + random.uniform(0.0, 1.0))
