"""Rate limit of booking requests per rider: one token bucket for each rider, in the memory of this replica.

Without PREBOOK_RIDER_HEADER the rider id comes from the request body and is not authenticated. The limit is therefore
off by default: any client could use up another rider's limit.
"""

from prebook.patterns.bucket import TokenBucket

MAX_TRACKED_RIDERS = 10_000
"""Buckets in memory, about 300 bytes each; full ones are evicted first."""


class RiderRateLimiter:
    """Token buckets by rider id. Times are seconds on a monotonic clock, passed in by the caller."""

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: dict[str, TokenBucket] = {}

    def acquire(self, rider_id: str, now: float) -> float:
        """Take a token for this rider. Returns 0 if one was taken, else the seconds until the next one."""
        if not self._per_s:
            return 0.0
        bucket = self._buckets.pop(rider_id, None) or TokenBucket.full(per_s=self._per_s, burst=self._burst, now=now)
        wait_s = bucket.wait_s(now)
        self._buckets[rider_id] = bucket if wait_s else bucket.taken(now)
        self._evict(now)
        return wait_s

    def _evict(self, now: float) -> None:
        """Drop full buckets and those above MAX_TRACKED_RIDERS, least recently used first."""
        while self._buckets:
            rider, bucket = next(iter(self._buckets.items()))
            if len(self._buckets) <= MAX_TRACKED_RIDERS and not bucket.is_full(now):
                return
            del self._buckets[rider]
