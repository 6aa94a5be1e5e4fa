"""What booking keeps: the bookings, and what was answered to which key."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from prebook.booking.domain.booking import Booking
from prebook.contracts.plan import Coupling
from prebook.messaging.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """What a rider was answered; the same again to the same request."""

    booking_id: str
    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A key that a request has taken."""

    key: str
    booking_id: str
    fingerprint: bytes
    """Digest of the request that took it."""
    claimed_at: datetime
    response: StoredResponse | None = None
    """None while the first request is still being served."""


class KeyTaken(Exception):
    """Another request has this key."""


class TooLate(Exception):
    """What was decided held no longer when it was to be written; decide again."""


@dataclass(frozen=True, slots=True)
class Held:
    """A booking and two moments on the store's clock, which is one for all replicas and right where theirs is not."""

    booking: Booking
    asked_at: datetime
    """When it was made: before anything was asked because of it."""
    looked_at: datetime


Leg = tuple[str, Coupling]
"""A flow, in one of its couplings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """How much waits because of the bookings that were let in; of all replicas together."""

    outbox_rows: int = 0
    """Due, or tried in vain."""
    outbox_oldest_s: float = 0.0
    """Age of the oldest question that has not left for the broker yet."""
    unanswered: Mapping[Leg, int] = field(default_factory=dict)
    due_in_s: Mapping[Leg, float] = field(default_factory=dict)
    """Until the deadline of the oldest unanswered question; below zero where it has passed."""
    answered_per_s: Mapping[Leg, float] = field(default_factory=dict)


class BookingWork(UnitOfWork, Protocol):
    async def open(self, booking: Booking, claim: Claim) -> None:
        """Take the key and store the booking, before whatever else this unit writes, at the latest as it ends.

        There it raises KeyTaken where the key is taken, and nothing is stored.
        """
        ...

    async def claim(self, key: str) -> Claim | None: ...

    async def respond(self, key: str, response: StoredResponse) -> StoredResponse:
        """Store what the key's request is answered, once and for good; returns what is stored."""
        ...

    async def find(self, booking_id: str) -> Booking | None: ...

    async def hold(self, booking_id: str) -> Held | None:
        """The booking, held until the transaction ends: its changes come one after the other."""
        ...

    async def save(self, booking: Booking) -> None:
        """Raises TooLate where it becomes confirmed although its quote has run out since it was held."""
        ...

    async def take_token(self, campaign: str, most: int, window_s: float) -> float | None:
        """One of the ``most`` tokens of the current window; None: had one. Else the seconds until the next window."""
        ...

    async def signals(self, flows: Collection[str]) -> Signals:
        """What waits, as far as these flows are concerned; cheap however much it is."""
        ...

    async def ledger(self, prefix: str, after: str, limit: int) -> Sequence[Booking]:
        """Bookings whose key starts with ``prefix`` and comes after ``after``, by key."""
        ...
