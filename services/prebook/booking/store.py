"""Port of booking's store: bookings, idempotency records, trips, campaign tokens and load signals."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from prebook.booking.domain.booking import Booking, RiderKey
from prebook.booking.domain.trip import Trip
from prebook.contracts.booking import ClockFigures, LedgerTotal
from prebook.contracts.conversations import ConversationSummary
from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.route import RouteGeometry
from prebook.messaging.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """HTTP response stored under an Idempotency-Key; a repeated request gets the same response."""

    booking_id: str
    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """Record of an Idempotency-Key and of the request that used it."""

    key: RiderKey
    booking_id: str
    fingerprint: bytes
    """SHA-256 of the request."""
    created_at: datetime
    response: StoredResponse | None = None
    """None while the first request is still being served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TripRecord:
    """Request that created a trip, by its fingerprint (SHA-256), and the body of the response to it."""

    trip_id: str
    fingerprint: bytes
    response: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRoute:
    """Route of a booking, and its number among those of the booking, from 1."""

    revision: int
    geometry: RouteGeometry


class Clock(StrEnum):
    """Moment until which a rider waits."""

    ACCEPTED = "accepted"
    SETTLED = "settled"
    NOTIFIED = "notified"


class PlanClock(NamedTuple):
    """Figures of one clock of one plan."""

    plan: Plan
    clock: Clock
    figures: ClockFigures


class LedgerPosition(NamedTuple):
    """Position of a booking, or of a trip, in its ledger; riders may have equal keys."""

    key: str
    booking_id: str


class DuplicateKey(Exception):
    """The Idempotency-Key belongs to an earlier request of the same rider."""


class StaleDecision(Exception):
    """A decision was no longer valid when it was written; decide again on a fresh booking."""


@dataclass(frozen=True, slots=True)
class LockedBooking:
    """A locked booking and two times on the store's clock, which all replicas share."""

    booking: Booking
    requested_at: datetime
    """Creation time of the booking, before its first request was sent."""
    db_now: datetime
    """Current time on the store's clock."""


@dataclass(frozen=True, slots=True)
class LockedTrip:
    """A locked trip and two times on the store's clock, which all replicas share."""

    trip: Trip
    due_at: datetime
    """Deadline of the trip."""
    db_now: datetime
    """Current time on the store's clock."""


FlowCoupling = tuple[str, Coupling]
"""A flow and the coupling that carries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSignals:
    """Work that admitted bookings have queued, over all replicas."""

    outbox_rows: int = 0
    """Outbox rows that are due or have failed at least once."""
    outbox_age_s: float = 0.0
    """Age of the oldest request that has not been published to the broker yet."""
    pending_requests: Mapping[FlowCoupling, int] = field(default_factory=dict)
    time_to_deadline_s: Mapping[FlowCoupling, float] = field(default_factory=dict)
    """Seconds until the deadline of the oldest pending request; negative once it has passed."""
    replies_per_s: Mapping[FlowCoupling, float] = field(default_factory=dict)
    reply_age_s: Mapping[FlowCoupling, float] = field(default_factory=dict)
    """Seconds since the latest reply of the provider, if there was one within the last seconds."""


@dataclass(frozen=True, slots=True)
class SwitchPosition:
    """Value that an operator has set, and when."""

    value: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class WaitingPage:
    """Waiting bookings among those that were looked at."""

    bookings: Sequence[Booking]
    looked_at_until: datetime
    """Creation time of the newest booking that was looked at; the next page begins after it."""


class TripWork(UnitOfWork, Protocol):
    """Unit of work over booking's trips and their legs."""

    async def create_trip(self, trip: Trip, legs: Sequence[Booking], record: TripRecord) -> None:
        """Store the trip under its key with all of its legs, before any other write of this unit.

        The write raises DuplicateKey if the key is in use for a trip; the unit then stores nothing.
        """
        ...

    async def find_trip_record(self, key: RiderKey) -> TripRecord | None:
        """Read the record of the trip with this Idempotency-Key; None if there is none."""
        ...

    async def find_trip(self, trip_id: str) -> Trip | None:
        """Read a trip without a lock; None if there is none."""
        ...

    async def find_legs(self, trip_id: str) -> Sequence[Booking]:
        """Read the legs of a trip without a lock, in their order."""
        ...

    async def lock_trip(self, trip_id: str) -> LockedTrip | None:
        """Lock the trip until the transaction ends, to serialise its transitions; None if there is none."""
        ...

    async def lock_legs(self, trip_id: str) -> Sequence[Booking]:
        """Lock the legs of a trip, in their order. The trip must be locked already, so that no two units deadlock."""
        ...

    async def save_trip(self, trip: Trip) -> None:
        """Write the trip's mutable columns."""
        ...

    async def list_overdue_trips(self, limit: int) -> Sequence[Trip]:
        """Read the ``limit`` open trips whose deadline passed first."""
        ...

    async def read_trip_ledger(self, prefix: str, after: LedgerPosition, limit: int) -> Sequence[Trip]:
        """Read at most ``limit`` trips whose key starts with ``prefix``, in the order of keys and ids.

        ``after``: position of the trip that they follow.
        """
        ...


class BookingWork(TripWork, Protocol):
    """Unit of work over booking's store."""

    async def create(self, booking: Booking, record: IdempotencyRecord) -> None:
        """Store the booking under its key, before any other write of this unit, at the latest at its end.

        The write raises DuplicateKey if the key is in use; the unit then stores nothing.
        """
        ...

    async def find_idempotency_record(self, key: RiderKey) -> IdempotencyRecord | None:
        """The record of an Idempotency-Key; None if there is none, or it has been purged."""
        ...

    async def store_response(self, key: RiderKey, response: StoredResponse) -> StoredResponse:
        """Store the response to the key's request unless one is stored already; returns the stored response."""
        ...

    async def find(self, booking_id: str) -> Booking | None:
        """Read a booking without a lock; None if there is none."""
        ...

    async def lock(self, booking_id: str) -> LockedBooking | None:
        """Lock the booking until the transaction ends, to serialise its transitions; None if there is none."""
        ...

    async def save(self, booking: Booking) -> None:
        """Write the booking's mutable columns. Raises StaleDecision if it becomes confirmed after its quote expired."""
        ...

    async def save_route(self, booking_id: str, geometry: RouteGeometry) -> int | None:
        """Replace the route of a booking, which is locked; return its revision, None if it is the same as before."""
        ...

    async def find_route(self, booking_id: str) -> PlannedRoute | None:
        """Read the route of a booking; None if there is none."""
        ...

    async def read_switches(self) -> Mapping[str, SwitchPosition]:
        """Read all switches that operators have set, by name."""
        ...

    async def set_switches(self, values: Mapping[str, str | None]) -> None:
        """Set switches by name, in one transaction; None: as configured again."""
        ...

    async def take_token(self, campaign: str, max_tokens: int, window_s: float) -> float | None:
        """Take one of the ``max_tokens`` tokens of the current window of ``window_s`` seconds.

        Returns None if a token was taken, else the seconds until the next window.
        """
        ...

    async def read_load_signals(self, flows: Collection[str], max_rows: int) -> LoadSignals:
        """Read the load signals of these flows. At most ``max_rows`` rows of each table are counted."""
        ...

    async def list_waiting(self, after: datetime, before: datetime, limit: int) -> WaitingPage:
        """Look at the ``limit`` oldest bookings created after ``after`` and before ``before``.

        Returns those that wait for a reply, and those whose rider is not notified yet.
        """
        ...

    async def read_ledger(self, prefix: str, after: LedgerPosition, limit: int) -> Sequence[Booking]:
        """Read at most ``limit`` bookings whose key starts with ``prefix``, in the order of keys and ids.

        ``after``: position of the booking that they follow.
        """
        ...

    async def read_ledger_totals(self) -> Sequence[LedgerTotal]:
        """Count all bookings by plan and state."""
        ...

    async def read_clocks(self, window_s: float) -> Sequence[PlanClock]:
        """Read the clocks ``settled`` and ``notified`` of bookings that reached them within ``window_s`` seconds."""
        ...

    async def find_conversations(self, reference: str, limit: int) -> Sequence[ConversationSummary]:
        """Return the booking or trip with this id, or those with this Idempotency-Key, the oldest ``limit`` of them."""
        ...
