"""Behaviour common to all simulated partners: decode a ride, wait, and decide by a seed.

A decision depends on seed and ride alone, so the same ride gets the same replies for every booking at any time.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass

from prebook.patterns.normalizer import ForeignMessage

QUARTER_HOUR_S = 15 * 60

PartnerCall = Callable[[bytes], Awaitable[ForeignMessage]]
"""Call of a partner: a request in its wire format returns a reply. Idempotent: a call changes nothing."""


@dataclass(frozen=True)
class PartnerRide:
    """A ride as decoded by a partner: hundred-thousandths of a degree, quarters of an hour since 1970."""

    lat: int
    lon: int
    quarter: int
    tier: str
    seats: int


@dataclass(frozen=True)
class WireFormat:
    """Wire format of a partner; ``decode_request`` raises ValueError, LookupError or TypeError on a bad request."""

    decode_request: Callable[[bytes], PartnerRide]
    encode_offer: Callable[[int], bytes]
    """Encoder of an offer; its argument is minutes to arrival."""
    decline: bytes
    bad_request: bytes
    media_type: str
    """Name of the format of all replies, with its version."""


@dataclass(frozen=True)
class PartnerProfile:
    """Behaviour of a partner: rates are shares of its rides, latencies seconds, distances minutes."""

    name: str
    acceptance_rate: float
    min_latency_s: float
    max_latency_s: float
    min_minutes_away: int
    max_minutes_away: int
    corruption_rate: float = 0.0


@dataclass(frozen=True)
class Partner:
    """A simulated partner fleet."""

    profile: PartnerProfile
    wire_format: WireFormat
    seed: int

    async def call(self, request: bytes) -> ForeignMessage:
        """Reply to a request after the latency of the profile; some replies are cut in half."""
        profile = self.profile
        try:
            ride = self.wire_format.decode_request(request)
        except (ValueError, LookupError, TypeError):
            return self._message(self.wire_format.bad_request)
        await asyncio.sleep(
            profile.min_latency_s + self._draw("pace", ride) * (profile.max_latency_s - profile.min_latency_s)
        )
        reply = self._decide(ride)
        garbles = self._draw("garbles", ride) < profile.corruption_rate
        return self._message(reply[: len(reply) // 2] if garbles else reply)

    def _message(self, body: bytes) -> ForeignMessage:
        return ForeignMessage(self.wire_format.media_type, body)

    def _decide(self, ride: PartnerRide) -> bytes:
        profile = self.profile
        if self._draw("accepts", ride) >= profile.acceptance_rate:
            return self.wire_format.decline
        reach = profile.max_minutes_away - profile.min_minutes_away + 1
        return self.wire_format.encode_offer(profile.min_minutes_away + int(self._draw("distance", ride) * reach))

    def _draw(self, purpose: str, ride: PartnerRide) -> float:
        """Number in [0, 1) determined by seed, partner, purpose and ride, the same on every machine."""
        key = "|".join(map(str, (self.seed, self.profile.name, purpose, *astuple(ride))))
        return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
