"""HTTP bodies of booking for riders, and of its ledger and the delivery log for audits."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState, Driver, Money, Passengers, Place, StateChange, VehicleClass

RiderId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+(?![\s\S])")]


class RideRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A ride to book.

    Every request has one form, so that its spellings are one request under an Idempotency-Key: ``pickup_at`` is UTC.
    """

    pickup: Place
    dropoff: Place
    pickup_at: Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339, in the future")]
    vehicle_class: VehicleClass
    passengers: Passengers

    def __post_init__(self) -> None:
        with suppress(OverflowError):  # outside of the years 1 to 9999 in UTC, and so refused as too early or too late
            msgspec.structs.force_setattr(self, "pickup_at", self.pickup_at.astimezone(UTC))


class BookingRequest(RideRequest, frozen=True, kw_only=True):
    """Body of ``POST /v1/bookings``. In its one form, a plan without couplings is no plan."""

    rider_id: RiderId = ""
    """Required unless the rider is known from ``PREBOOK_RIDER_HEADER``."""
    callback_url: Annotated[str, msgspec.Meta(max_length=512)] | None = None
    """URL that gets a signed POST when the booking settles, at least once; its host must be allowed."""
    couplings: dict[str, Coupling] | None = None
    """Coupling by flow, in place of the default plan; refused unless the suite allows it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        msgspec.structs.force_setattr(self, "couplings", self.couplings or None)


class BookingView(msgspec.Struct, frozen=True, kw_only=True):
    """A booking as its rider sees it."""

    id: str
    state: BookingState
    settled: bool
    rider_id: str
    pickup: Place
    dropoff: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: Passengers
    couplings: dict[str, Coupling]
    history: tuple[StateChange, ...]
    fare: Money | None = None
    driver: Driver | None = None
    reason: str | None = None
    notified_at: datetime | None = None
    trip_id: str | None = None
    """Trip that the booking is a leg of; the trip notifies the rider and is cancelled as a whole."""
    leg: int | None = None
    """Number of the leg in its trip, from 1."""


class RideDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Ride of a booking without its rider: response of ``GET /v1/rides/{booking_id}``."""

    pickup: Place
    dropoff: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: Passengers


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one booking, read by the campaign and by ``prebook ledger``."""

    booking_id: str
    idempotency_key: str
    """The rider's Idempotency-Key."""
    state: BookingState
    accepted_at: datetime
    settled_at: datetime | None
    fare_cents: int | None
    fleet: str | None
    driver: str | None
    slot: datetime | None
    reason: str | None
    couplings: dict[str, Coupling]
    trip_id: str | None = None
    """Trip that the booking is a leg of."""


class LedgerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Page of ``GET /v1/ledger?prefix=&after=&limit=``: bookings in the order of their keys and ids.

    Their keys start with ``prefix``; ``after`` is the ``next`` of an earlier page.
    """

    entries: tuple[LedgerEntry, ...]
    next: str | None
    """Pass it as ``after`` to get the next page; null on the last page."""


class LedgerTotal(msgspec.Struct, frozen=True, kw_only=True):
    """Number of bookings of one plan in one state, legs of trips included."""

    couplings: dict[str, Coupling]
    state: BookingState
    bookings: int


class LedgerTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Response of ``GET /v1/ledger/totals``."""

    totals: tuple[LedgerTotal, ...]


class ClockFigures(msgspec.Struct, frozen=True):
    """Exact quantiles of one clock in milliseconds, by the nearest-rank method; 0 if ``count`` is 0."""

    count: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


class PlanClocks(msgspec.Struct, frozen=True, kw_only=True):
    """Clocks of the bookings of one plan, all from the arrival of the rider's request; legs of trips have none."""

    couplings: dict[str, Coupling]
    accepted: ClockFigures = ClockFigures()
    """Until the successful response left, of responses of the asked process in the window."""
    settled: ClockFigures = ClockFigures()
    """Until the outcome was known, of bookings settled in the window."""
    notified: ClockFigures = ClockFigures()
    """Until booking knew that the rider has the notice, of bookings notified in the window."""


class LedgerClocks(msgspec.Struct, frozen=True, kw_only=True):
    """Response of ``GET /v1/ledger/clocks?window_s=``."""

    window_s: int
    plans: tuple[PlanClocks, ...]


class DeliveryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Delivery: one notice that reached a rider, as notification's log has it."""

    booking_id: str
    notice: str
    delivered_at: datetime
    times_delivered: int
    """How often the delivery took effect; more than 1 means a duplicate."""


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Page of ``GET /v1/deliveries?since=&after=&limit=`` of notification, by booking id."""

    entries: tuple[DeliveryEntry, ...]
    next: str | None
