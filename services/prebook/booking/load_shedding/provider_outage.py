"""Outages of a provider, as booking sees them: requests wait, and none of them is replied to.

Booking may not look at a provider's queue or process. A provider that is down, hangs, consumes nothing or cannot be
reached replies to nothing, in every coupling, so that is the evidence.
"""

import math

AWAY_AFTER_S = 2.0
"""Seconds without a reply, while requests wait, after which a provider counts as away."""
CATCH_UP_FACTOR = 2.0
"""Time to work off the backlog of an outage, as a multiple of its length: enough for a provider that has up to two
thirds of its capacity in use."""


class ProviderOutage:
    """The current or latest outage of the provider of one flow over one coupling. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.stalled_s = 0.0
        """Seconds for which requests have waited and no reply has come; 0 while none waits."""
        self.is_away = False
        self._backlog = 0
        self._caught_up_at = -math.inf
        self._last_reply_at = -math.inf

    def update(self, now: float, *, waiting: int, waited_s: float, reply_age_s: float | None) -> None:
        """Take a sample.

        ``waiting``: requests without a reply. ``waited_s``: age of the oldest. ``reply_age_s``: seconds since the
        latest reply; None if there was none recently.
        """
        if reply_age_s is not None:
            self._last_reply_at = now - reply_age_s
        was_away = self.is_away
        self.stalled_s = max(0.0, min(waited_s, now - self._last_reply_at)) if waiting else 0.0
        self.is_away = self.stalled_s >= AWAY_AFTER_S
        if self.is_away:
            self._backlog = max(waiting, self._backlog) if was_away else waiting
            self._caught_up_at = now + CATCH_UP_FACTOR * self.stalled_s

    def backlog(self, now: float) -> int:
        """Requests that waited for the provider and may still be ahead of new ones, here or at the next provider."""
        return self._backlog if now < self._caught_up_at else 0
