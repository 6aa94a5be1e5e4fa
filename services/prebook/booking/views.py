"""Views of a booking: for its rider, for the stored response and for the ledger."""

from collections.abc import Sequence

import msgspec

from prebook.booking.domain.booking import Booking
from prebook.booking.store import LedgerPosition, StoredResponse
from prebook.contracts.booking import BookingView, LedgerEntry, LedgerPage

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
    )


def ledger_page_of(bookings: Sequence[Booking], limit: int) -> LedgerPage:
    """Ledger page with ``next`` set if it is full: only then may another page follow."""
    next_page = f"{bookings[-1].id}/{bookings[-1].key}" if len(bookings) == limit else None
    return LedgerPage(entries=tuple(ledger_entry_of(booking) for booking in bookings), next=next_page)


def ledger_position_of(after: str) -> LedgerPosition:
    """Position in the ledger of a page's ``next``; the beginning if it is empty."""
    booking_id, _, key = after.partition("/")
    return LedgerPosition(key, booking_id)
