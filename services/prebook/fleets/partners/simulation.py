"""What all partners have in common: they read a trip, think, and decide by a seed.

The decision belongs to the trip alone, so the same ride has the same replies, whatever booking asks and when.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import astuple, dataclass

QUARTER_S = 15 * 60

Ask = Callable[[bytes], Awaitable[bytes]]
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
class Language:
    """``read`` raises ValueError, LookupError or TypeError where it does not understand."""

    read: Callable[[bytes], Trip]
    offer: Callable[[int], bytes]
    """Minutes to arrival, as the partner says it."""
    refusal: bytes
    not_understood: bytes


@dataclass(frozen=True)
class Character:
    """How a partner behaves; shares are of its trips, times in seconds, distances in minutes."""

    name: str
    accepts: float
    fastest_s: float
    slowest_s: float
    nearest_min: int
    farthest_min: int
    garbles: float = 0.0


@dataclass(frozen=True)
class Partner:
    character: Character
    language: Language
    seed: int

    async def ask(self, question: bytes) -> bytes:
        who = self.character
        try:
            trip = self.language.read(question)
        except (ValueError, LookupError, TypeError):
            return self.language.not_understood
        await asyncio.sleep(who.fastest_s + self._draw("pace", trip) * (who.slowest_s - who.fastest_s))
        said = self._decision(trip)
        return said[: len(said) // 2] if self._draw("garbles", trip) < who.garbles else said

    def _decision(self, trip: Trip) -> bytes:
        who = self.character
        if self._draw("accepts", trip) >= who.accepts:
            return self.language.refusal
        reach = who.farthest_min - who.nearest_min + 1
        return self.language.offer(who.nearest_min + int(self._draw("distance", trip) * reach))

    def _draw(self, what: str, trip: Trip) -> float:
        """A number in [0, 1) that belongs to this seed, partner, purpose and trip, on every machine."""
        told = "|".join(map(str, (self.seed, self.character.name, what, *astuple(trip))))
        return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "big") / 2**64
