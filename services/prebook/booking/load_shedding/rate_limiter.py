"""How many bookings one rider may ask for: a token bucket for each, in this process.

A rider is who the body names: nothing here proves it. So there is no quota unless it is set, which is for where
something in front vouches for riders; else anybody could use up somebody else's. Each replica counts for itself.
"""

from prebook.patterns.bucket import TokenBucket

MAX_TRACKED_RIDERS = 10_000
"""Remembered at a time; about 300 bytes each. A bucket that is full again is forgotten first."""


class RiderRateLimiter:
    """Times are seconds of any monotonic clock, handed in."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._buckets: dict[str, TokenBucket] = {}

    def acquire(self, rider_id: str, now: float) -> float:
        """Seconds until this rider may ask again; 0: may ask now, which is counted."""
        if not self._per_s:
            return 0.0
        bucket = self._buckets.pop(rider_id, None) or TokenBucket.full(per_s=self._per_s, burst=self._burst, now=now)
        wait_s = bucket.wait_s(now)
        self._buckets[rider_id] = bucket if wait_s else bucket.taken(now)
        self._evict(now)
        return wait_s

    def _evict(self, now: float) -> None:
        """Those who asked longest ago stand first."""
        while self._buckets:
            rider, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) <= MAX_TRACKED_RIDERS and not bucket.is_full(now):
                return
            del self._buckets[rider]
