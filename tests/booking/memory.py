"""Booking's state in dictionaries."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from prebook.booking.domain.booking import Booking
from prebook.booking.store import Claim, Held, KeyTaken, Signals, StoredResponse
from prebook.messaging.clock import utc_now


@dataclass
class MemoryBooking:
    bookings: dict[str, Booking] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    clock: Callable[[], datetime] = utc_now
    tokens: dict[tuple[str, float], int] = field(default_factory=dict)
    pressure: Signals = field(default_factory=Signals)

    async def open(self, booking: Booking, claim: Claim) -> None:
        if any(known.key == booking.key for known in self.bookings.values()):
            raise KeyTaken
        self.claims[claim.key], self.bookings[booking.id] = claim, booking

    async def claim(self, key: str) -> Claim | None:
        return self.claims.get(key)

    async def respond(self, key: str, response: StoredResponse) -> StoredResponse:
        claim = self.claims[key]
        stored = claim.response or response
        self.claims[key] = replace(claim, response=stored)
        return stored

    async def find(self, booking_id: str) -> Booking | None:
        return self.bookings.get(booking_id)

    async def hold(self, booking_id: str) -> Held | None:
        booking = self.bookings.get(booking_id)
        return Held(booking, asked_at=booking.accepted_at, looked_at=self.clock()) if booking else None

    async def save(self, booking: Booking) -> None:
        self.bookings[booking.id] = booking

    async def take_token(self, campaign: str, most: int, window_s: float) -> float | None:
        into_s = self.clock().timestamp() % window_s
        window = (campaign, self.clock().timestamp() - into_s)
        if self.tokens.get(window, 0) >= most:
            return window_s - into_s
        self.tokens[window] = self.tokens.get(window, 0) + 1
        return None

    async def signals(self, flows: Collection[str]) -> Signals:
        return self.pressure

    async def ledger(self, prefix: str, after: str, limit: int) -> Sequence[Booking]:
        found = (b for b in self.bookings.values() if b.key.startswith(prefix) and b.key > after)
        return sorted(found, key=lambda b: b.key)[:limit]
