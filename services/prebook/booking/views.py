"""Views of a booking and of a trip: for the rider, for the stored response and for the ledger."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from prebook.booking.domain.booking import Booking
from prebook.booking.domain.trip import Trip
from prebook.booking.store import LedgerPosition, PlanClock, StoredResponse
from prebook.contracts.booking import (
    BookingView,
    ClockFigures,
    LedgerClocks,
    LedgerEntry,
    LedgerPage,
    PlanClocks,
    RideDetails,
)
from prebook.contracts.plan import plan_label
from prebook.contracts.trip_http import TripLedgerEntry, TripLedgerPage, TripView

CREATED = 201
ACCEPTED = 202


def view_of(booking: Booking) -> BookingView:
    """The booking as its rider sees it."""
    ride = booking.ride
    return BookingView(
        id=booking.id,
        state=booking.state,
        settled=booking.is_settled,
        rider_id=ride.rider_id,
        pickup=ride.pickup,
        dropoff=ride.dropoff,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
        couplings=dict(booking.plan),
        history=booking.history,
        fare=booking.quote.fare if booking.quote else None,
        driver=booking.driver,
        reason=booking.reason,
        notified_at=booking.notified_at,
        trip_id=booking.leg.trip_id if booking.leg else None,
        leg=booking.leg.number if booking.leg else None,
    )


def ride_details_of(booking: Booking) -> RideDetails:
    """The ride without its rider, for feeds."""
    ride = booking.ride
    return RideDetails(
        pickup=ride.pickup,
        dropoff=ride.dropoff,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )


def trip_view_of(trip: Trip, legs: Sequence[Booking]) -> TripView:
    """The trip as its rider sees it."""
    return TripView(
        id=trip.id,
        state=trip.state,
        settled=trip.is_settled,
        rider_id=trip.rider_id,
        policy=trip.policy,
        deadline_s=trip.deadline_s,
        legs=tuple(view_of(leg) for leg in legs),
        couplings=dict(trip.plan),
        history=trip.history,
        completed_by=trip.legs.completed_by,
        fare=trip.fare,
        reason=trip.reason,
        notified_at=trip.notified_at,
    )


def response_of(booking: Booking) -> StoredResponse:
    """Response to the booking's request: 201 if the booking is settled, else 202."""
    status = CREATED if booking.is_settled else ACCEPTED
    return StoredResponse(booking_id=booking.id, status=status, body=msgspec.json.encode(view_of(booking)))


def ledger_entry_of(booking: Booking) -> LedgerEntry:
    """The booking as the ledger shows it."""
    driver = booking.driver
    return LedgerEntry(
        booking_id=booking.id,
        idempotency_key=booking.key,
        state=booking.state,
        accepted_at=booking.accepted_at,
        settled_at=booking.settled_at,
        fare_cents=booking.quote.fare.cents if booking.quote else None,
        fleet=driver.fleet if driver else None,
        driver=driver.id if driver else None,
        slot=booking.slot,
        reason=booking.reason,
        couplings=dict(booking.plan),
        trip_id=booking.leg.trip_id if booking.leg else None,
    )


def trip_ledger_entry_of(trip: Trip) -> TripLedgerEntry:
    """The trip as its ledger shows it."""
    return TripLedgerEntry(
        trip_id=trip.id,
        idempotency_key=trip.key,
        state=trip.state,
        policy=trip.policy,
        completed_by=trip.legs.completed_by,
        accepted_at=trip.accepted_at,
        settled_at=trip.settled_at,
        legs=trip.legs.size,
        results=dict(trip.legs.results),
        reason=trip.reason,
        couplings=dict(trip.plan),
    )


def ledger_page_of(bookings: Sequence[Booking], limit: int) -> LedgerPage:
    """Ledger page with ``next`` set if it is full: only then may another page follow."""
    return LedgerPage(entries=tuple(map(ledger_entry_of, bookings)), next=_next_page(bookings, limit))


def ledger_clocks_of(clocks: Iterable[PlanClock], window_s: int) -> LedgerClocks:
    """Clocks of all plans."""
    figures: dict[str, dict[str, ClockFigures]] = defaultdict(dict)
    couplings = {}
    for plan, clock, found in clocks:
        label = plan_label(plan)
        couplings[label] = dict(plan)
        figures[label][clock.value] = found
    plans = tuple(PlanClocks(couplings=couplings[label], **by_clock) for label, by_clock in sorted(figures.items()))
    return LedgerClocks(window_s=window_s, plans=plans)


def trip_ledger_page_of(trips: Sequence[Trip], limit: int) -> TripLedgerPage:
    """Page of the trips' ledger with ``next`` set if it is full."""
    return TripLedgerPage(entries=tuple(map(trip_ledger_entry_of, trips)), next=_next_page(trips, limit))


def _next_page(entries: Sequence[Booking] | Sequence[Trip], limit: int) -> str | None:
    return f"{entries[-1].id}/{entries[-1].key}" if len(entries) == limit else None


def ledger_position_of(after: str) -> LedgerPosition:
    """Position in the ledger of a page's ``next``; the beginning if it is empty."""
    booking_id, _, key = after.partition("/")
    return LedgerPosition(key, booking_id)
