"""What all partners have in common: they read a trip, think, and decide by a seed.

The decision belongs to the trip alone, so the same ride has the same replies, whatever booking asks and when.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass

QUARTER_HOUR_S = 15 * 60

PartnerCall = Callable[[bytes], Awaitable[bytes]]
"""A partner as others see it: a question in its language, and a reply. Asking again is harmless: it only looks."""


@dataclass(frozen=True)
class Trip:
    """A trip as a partner read it: hundred-thousandths of a degree, quarters of an hour since 1970."""

    lat: int
    lon: int
    quarter: int
    tier: str
    seats: int


@dataclass(frozen=True)
class WireFormat:
    """``read`` raises ValueError, LookupError or TypeError where it does not understand."""

    decode_request: Callable[[bytes], Trip]
    encode_offer: Callable[[int], bytes]
    """Minutes to arrival, as the partner says it."""
    decline: bytes
    bad_request: bytes


@dataclass(frozen=True)
class PartnerProfile:
    """How a partner behaves; shares are of its trips, times in seconds, distances in minutes."""

    name: str
    acceptance_rate: float
    min_latency_s: float
    max_latency_s: float
    min_minutes_away: int
    max_minutes_away: int
    corruption_rate: float = 0.0


@dataclass(frozen=True)
class Partner:
    profile: PartnerProfile
    wire_format: WireFormat
    seed: int

    async def call(self, request: bytes) -> bytes:
        who = self.profile
        try:
            trip = self.wire_format.decode_request(request)
        except (ValueError, LookupError, TypeError):
            return self.wire_format.bad_request
        await asyncio.sleep(who.min_latency_s + self._draw("pace", trip) * (who.max_latency_s - who.min_latency_s))
        said = self._decide(trip)
        return said[: len(said) // 2] if self._draw("garbles", trip) < who.corruption_rate else said

    def _decide(self, trip: Trip) -> bytes:
        who = self.profile
        if self._draw("accepts", trip) >= who.acceptance_rate:
            return self.wire_format.decline
        reach = who.max_minutes_away - who.min_minutes_away + 1
        return self.wire_format.encode_offer(who.min_minutes_away + int(self._draw("distance", trip) * reach))

    def _draw(self, purpose: str, trip: Trip) -> float:
        """A number in [0, 1) that belongs to this seed, partner, purpose and trip, on every machine."""
        told = "|".join(map(str, (self.seed, self.profile.name, purpose, *astuple(trip))))
        return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "big") / 2**64
