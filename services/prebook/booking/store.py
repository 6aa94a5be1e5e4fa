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
class IdempotencyRecord:
    """A key that a request has taken."""

    key: str
    booking_id: str
    fingerprint: bytes
    """Digest of the request that took it."""
    created_at: datetime
    response: StoredResponse | None = None
    """None while the first request is still being served."""


class DuplicateKey(Exception):
    """Another request has this key."""


class StaleDecision(Exception):
    """What was decided held no longer when it was to be written; decide again."""


@dataclass(frozen=True, slots=True)
class LockedBooking:
    """A booking and two moments on the store's clock, which is one for all replicas and right where theirs is not."""

    booking: Booking
    requested_at: datetime
    """When it was made: before anything was asked because of it."""
    db_now: datetime


FlowCoupling = tuple[str, Coupling]
"""A flow, in one of its couplings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSignals:
    """How much waits because of the bookings that were let in; of all replicas together."""

    outbox_rows: int = 0
    """Due, or tried in vain."""
    outbox_age_s: float = 0.0
    """Age of the oldest question that has not left for the broker yet."""
    pending_requests: Mapping[FlowCoupling, int] = field(default_factory=dict)
    time_to_deadline_s: Mapping[FlowCoupling, float] = field(default_factory=dict)
    """Until the deadline of the oldest unanswered question; below zero where it has passed."""
    replies_per_s: Mapping[FlowCoupling, float] = field(default_factory=dict)


class BookingWork(UnitOfWork, Protocol):
    async def create(self, booking: Booking, record: IdempotencyRecord) -> None:
        """Take the key and store the booking, before whatever else this unit writes, at the latest as it ends.

        There it raises KeyTaken where the key is taken, and nothing is stored.
        """
        ...

    async def find_idempotency_record(self, key: str) -> IdempotencyRecord | None: ...

    async def store_response(self, key: str, response: StoredResponse) -> StoredResponse:
        """Store what the key's request is answered, once and for good; returns what is stored."""
        ...

    async def find(self, booking_id: str) -> Booking | None: ...

    async def lock(self, booking_id: str) -> LockedBooking | None:
        """The booking, held until the transaction ends: its changes come one after the other."""
        ...

    async def save(self, booking: Booking) -> None:
        """Raises TooLate where it becomes confirmed although its quote has run out since it was held."""
        ...

    async def take_token(self, campaign: str, max_tokens: int, window_s: float) -> float | None:
        """One of the ``most`` tokens of the current window; None: had one. Else the seconds until the next window."""
        ...

    async def read_load_signals(self, flows: Collection[str]) -> LoadSignals:
        """What waits, as far as these flows are concerned; cheap however much it is."""
        ...

    async def read_ledger(self, prefix: str, after: str, limit: int) -> Sequence[Booking]:
        """Bookings whose key starts with ``prefix`` and comes after ``after``, by key."""
        ...
