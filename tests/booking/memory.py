"""In-memory store of booking."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from prebook.booking.domain.booking import Booking, RiderKey
from prebook.booking.domain.trip import Trip
from prebook.booking.store import (
    DuplicateKey,
    IdempotencyRecord,
    LedgerPosition,
    LoadSignals,
    LockedBooking,
    LockedTrip,
    PlanClock,
    PlannedRoute,
    StoredResponse,
    SwitchPosition,
    TripRecord,
    WaitingPage,
)
from prebook.contracts.booking import LedgerTotal
from prebook.contracts.conversations import ConversationSummary
from prebook.contracts.plan import plan_label
from prebook.contracts.route import RouteGeometry
from prebook.messaging.clock import utc_now


@dataclass
class MemoryBooking:
    bookings: dict[str, Booking] = field(default_factory=dict)
    idempotency_records: dict[RiderKey, IdempotencyRecord] = field(default_factory=dict)
    clock: Callable[[], datetime] = utc_now
    tokens: dict[tuple[str, float], int] = field(default_factory=dict)
    load_signals: LoadSignals = field(default_factory=LoadSignals)
    sampled_rows: int = 0
    """Maximum number of rows of the latest sample."""
    routes: dict[str, PlannedRoute] = field(default_factory=dict)
    switches: dict[str, SwitchPosition] = field(default_factory=dict)
    trips: dict[str, Trip] = field(default_factory=dict)
    trip_records: dict[RiderKey, TripRecord] = field(default_factory=dict)
    trips_due_at: dict[str, datetime] = field(default_factory=dict)

    async def create(self, booking: Booking, record: IdempotencyRecord) -> None:
        if any(stored.rider_key == booking.rider_key for stored in self.bookings.values()):
            raise DuplicateKey
        self.idempotency_records[record.key] = record
        self.bookings[booking.id] = booking

    async def find_idempotency_record(self, key: RiderKey) -> IdempotencyRecord | None:
        return self.idempotency_records.get(key)

    async def store_response(self, key: RiderKey, response: StoredResponse) -> StoredResponse:
        record = self.idempotency_records[key]
        stored = record.response or response
        self.idempotency_records[key] = replace(record, response=stored)
        return stored

    async def find(self, booking_id: str) -> Booking | None:
        return self.bookings.get(booking_id)

    async def lock(self, booking_id: str) -> LockedBooking | None:
        booking = self.bookings.get(booking_id)
        return LockedBooking(booking, requested_at=booking.accepted_at, db_now=self.clock()) if booking else None

    async def save(self, booking: Booking) -> None:
        self.bookings[booking.id] = booking

    async def list_waiting(self, after: datetime, before: datetime, limit: int) -> WaitingPage:
        created = sorted(
            (each for each in self.bookings.values() if after < each.accepted_at < before),
            key=lambda booking: booking.accepted_at,
        )[:limit]
        waiting = [booking for booking in created if booking.notified_at is None]
        return WaitingPage(waiting, created[-1].accepted_at if created else after)

    async def save_route(self, booking_id: str, geometry: RouteGeometry) -> int | None:
        known = self.routes.get(booking_id)
        if known and known.geometry == geometry:
            return None
        revision = known.revision + 1 if known else 1
        self.routes[booking_id] = PlannedRoute(revision=revision, geometry=geometry)
        return revision

    async def find_route(self, booking_id: str) -> PlannedRoute | None:
        return self.routes.get(booking_id)

    async def read_switches(self) -> Mapping[str, SwitchPosition]:
        return dict(self.switches)

    async def set_switches(self, values: Mapping[str, str | None]) -> None:
        for name, value in values.items():
            if value is None:
                self.switches.pop(name, None)
            else:
                self.switches[name] = SwitchPosition(value, self.clock())

    async def take_token(self, campaign: str, max_tokens: int, window_s: float) -> float | None:
        elapsed_s = self.clock().timestamp() % window_s
        window = (campaign, self.clock().timestamp() - elapsed_s)
        if self.tokens.get(window, 0) >= max_tokens:
            return window_s - elapsed_s
        self.tokens[window] = self.tokens.get(window, 0) + 1
        return None

    async def read_load_signals(self, flows: Collection[str], max_rows: int) -> LoadSignals:
        self.sampled_rows = max_rows
        return self.load_signals

    async def read_ledger(self, prefix: str, after: LedgerPosition, limit: int) -> Sequence[Booking]:
        found = (b for b in self.bookings.values() if b.key.startswith(prefix) and (b.key, b.id) > after)
        return sorted(found, key=lambda b: (b.key, b.id))[:limit]

    async def read_ledger_totals(self) -> Sequence[LedgerTotal]:
        counts = Counter((plan_label(b.plan), b.state) for b in self.bookings.values())
        plans = {plan_label(b.plan): dict(b.plan) for b in self.bookings.values()}
        return [LedgerTotal(couplings=plans[label], state=state, bookings=n) for (label, state), n in counts.items()]

    async def read_clocks(self, window_s: float) -> Sequence[PlanClock]:
        return []  # the quantiles are SQL, and tested on PostgreSQL

    async def find_conversations(self, reference: str, limit: int) -> Sequence[ConversationSummary]:
        return []  # the lookup is SQL, and tested on PostgreSQL

    async def create_trip(self, trip: Trip, legs: Sequence[Booking], record: TripRecord) -> None:
        if trip.rider_key in self.trip_records:
            raise DuplicateKey
        self.trip_records[trip.rider_key] = record
        self.trips[trip.id] = trip
        self.trips_due_at[trip.id] = self.clock() + timedelta(seconds=trip.deadline_s)
        self.bookings |= {leg.id: leg for leg in legs}

    async def find_trip_record(self, key: RiderKey) -> TripRecord | None:
        return self.trip_records.get(key)

    async def find_trip(self, trip_id: str) -> Trip | None:
        return self.trips.get(trip_id)

    async def find_legs(self, trip_id: str) -> Sequence[Booking]:
        legs = [booking for booking in self.bookings.values() if booking.leg and booking.leg.trip_id == trip_id]
        return sorted(legs, key=lambda booking: booking.id)

    async def lock_trip(self, trip_id: str) -> LockedTrip | None:
        trip = self.trips.get(trip_id)
        return LockedTrip(trip, due_at=self.trips_due_at[trip_id], db_now=self.clock()) if trip else None

    async def lock_legs(self, trip_id: str) -> Sequence[Booking]:
        return await self.find_legs(trip_id)

    async def save_trip(self, trip: Trip) -> None:
        self.trips[trip.id] = trip

    async def list_overdue_trips(self, limit: int) -> Sequence[Trip]:
        overdue = [t for t in self.trips.values() if not t.is_settled and self.trips_due_at[t.id] <= self.clock()]
        return sorted(overdue, key=lambda trip: self.trips_due_at[trip.id])[:limit]

    async def read_trip_ledger(self, prefix: str, after: LedgerPosition, limit: int) -> Sequence[Trip]:
        found = (t for t in self.trips.values() if t.key.startswith(prefix) and (t.key, t.id) > after)
        return sorted(found, key=lambda t: (t.key, t.id))[:limit]
