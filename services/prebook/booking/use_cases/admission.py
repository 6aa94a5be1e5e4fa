"""Admission of a request at booking's edge: rate limit, providers, load, and look-ups for refused requests."""

import time
from collections.abc import Iterable, Sequence

from prebook.booking.domain.booking import RiderKey
from prebook.booking.load_shedding.rate_limiter import RiderRateLimiter
from prebook.booking.load_shedding.recent_keys import RecentKeys
from prebook.booking.load_shedding.shedder import LoadShedder
from prebook.contracts.plan import Plan
from prebook.flows import FLOWS, Request
from prebook.http.problems import Problem, retry_later_problem
from prebook.messaging.channel import Channel, Channels
from prebook.patterns.bucket import TokenBucket

RATE_LIMITED = "rate_limit_exceeded"
OVERLOADED = "overloaded"
LOOKUP_LIMITED_CODES = frozenset({RATE_LIMITED, OVERLOADED})
MAX_LOOKUPS_PER_S = 5.0
"""Store look-ups per second for refused requests whose key this process has not admitted itself."""
MAX_RECENT_KEYS = 20_000


class Admission:
    """Admission control of one replica, over its rate limits, its channels and its load."""

    def __init__(self, channels: Channels, load_shedder: LoadShedder, rate_limiter: RiderRateLimiter) -> None:
        self.load_shedder = load_shedder
        self.recent_keys = RecentKeys(MAX_RECENT_KEYS)
        """Keys that this process has admitted; the use cases add them."""
        self._channels = channels
        self._rate_limiter = rate_limiter
        self._lookups = TokenBucket.full(per_s=MAX_LOOKUPS_PER_S, burst=MAX_LOOKUPS_PER_S, now=time.monotonic())

    def refusal(self, key: RiderKey, plan: Plan, requests: Sequence[Request]) -> Problem | None:
        """Admit and count a request that begins with ``requests``, one for each booking (None), or refuse it."""
        return (
            self._check_rate_limit(key.rider_id)
            or self._check_providers(plan, requests)
            or self._check_load(key, plan, len(requests))
        )

    def may_look_up(self, key: RiderKey, refused: Problem) -> bool:
        """Whether a refused request may look for its stored response. Refusals must stay cheaper than admissions."""
        if refused.code not in LOOKUP_LIMITED_CODES or key in self.recent_keys:
            return True
        now = time.monotonic()
        if self._lookups.wait_s(now):
            return False
        self._lookups = self._lookups.taken(now)
        return True

    def rider_waits(self, plan: Plan, requests: Iterable[Request]) -> bool:
        """Whether a request's reply arrives inline, so that the rider's connection waits for it."""
        return any(channel.traits.replies_inline for channel, _ in self._channels_of(plan, requests))

    def _check_rate_limit(self, rider_id: str) -> Problem | None:
        wait_s = self._rate_limiter.acquire(rider_id, time.monotonic())
        if not wait_s:
            return None
        return retry_later_problem(429, RATE_LIMITED, f"rider {rider_id} has requested too many bookings", wait_s)

    def _check_providers(self, plan: Plan, requests: Iterable[Request]) -> Problem | None:
        """Refuse a booking whose first request would fail because its provider is unavailable."""
        for channel, flow in self._channels_of(plan, requests):
            provider = FLOWS[flow].provider
            wait_s = channel.retry_after_s(provider)
            if wait_s is not None:
                return retry_later_problem(503, f"{provider}_unavailable", f"{provider} is unavailable", wait_s)
        return None

    def _check_load(self, key: RiderKey, plan: Plan, bookings: int) -> Problem | None:
        shed = self.load_shedder.decide(key, plan, bookings=bookings)
        if shed is None:
            return None
        detail = f"more bookings are in progress than can be settled in time ({shed.reason})"
        return retry_later_problem(503, OVERLOADED, detail, shed.retry_after_s)

    def _channels_of(self, plan: Plan, requests: Iterable[Request]) -> list[tuple[Channel, str]]:
        return [(self._channels[plan[request.flow]], request.flow) for request in requests]
