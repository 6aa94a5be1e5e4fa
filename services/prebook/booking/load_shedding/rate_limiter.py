"""How many bookings one rider may ask for: a token bucket for each, in this process.

A rider is who the body names: nothing here proves it. So there is no quota unless it is set, which is for where
something in front vouches for riders; else anybody could use up somebody else's. Each replica counts for itself.
"""

from typing import Any

from prebook.patterns.bucket import TokenBucket
from prebook.runtime.service import Running

MOST_RIDERS = 10_000
"""Remembered at a time; about 300 bytes each. A bucket that is full again is forgotten first."""


class Quotas:
    """Times are seconds of any monotonic clock, handed in."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._buckets: dict[str, TokenBucket] = {}

    def wait_s(self, rider: str, now: float) -> float:
        """Seconds until this rider may ask again; 0: may ask now, which is counted."""
        if not self._per_s:
            return 0.0
        bucket = self._buckets.pop(rider, None) or TokenBucket.full(per_s=self._per_s, burst=self._burst, now=now)
        wait_s = bucket.wait_s(now)
        self._buckets[rider] = bucket if wait_s else bucket.taken(now)
        self._forget(now)
        return wait_s

    def _forget(self, now: float) -> None:
        """Those who asked longest ago stand first."""
        while self._buckets:
            rider, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) <= MOST_RIDERS and not bucket.idle(now):
                return
            del self._buckets[rider]


def quotas(running: Running[Any]) -> Quotas:
    """For ``Running.one``."""
    return Quotas(per_s=running.settings.rider_per_s, burst=running.settings.rider_burst)
