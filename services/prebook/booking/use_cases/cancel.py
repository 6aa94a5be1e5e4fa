"""Use case: a rider cancels a booking."""

from dataclasses import dataclass

from prebook.booking import process
from prebook.booking.domain.booking import Booking
from prebook.booking.store import BookingWork
from prebook.contracts.ride import BookingState
from prebook.http.problems import Problem
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.messaging.staging import MessageContext
from prebook.patterns.trace import TraceContext
from prebook.runtime.service import ServiceContext


@dataclass(frozen=True, slots=True)
class CancelBooking:
    """Command: cancel a booking that is not over, until its pickup; a second cancellation changes nothing."""

    booking_id: str


async def cancel_booking(context: HandlerContext, command: CancelBooking, work: BookingWork) -> HandlerResult:
    """Cancel the booking and emit its events.

    Raises Problem if it is a leg of a trip, if it is over for another reason, or if its pickup has passed on the
    store's clock: the ride may have taken place, so neither the driver's slot nor the discount may be given back.
    """
    locked = await work.lock(command.booking_id)
    if locked is None or locked.booking.state is BookingState.CANCELLED:
        return HandlerResult()
    if locked.booking.leg:
        trip_id = locked.booking.leg.trip_id
        raise Problem(409, "part_of_trip", f"it is a leg of a trip; cancel the trip: DELETE /v1/trips/{trip_id}")
    if locked.booking.is_over:
        raise Problem(409, "booking_over", f"it is {locked.booking.state} already; there is nothing to cancel")
    pickup_at = locked.booking.ride.pickup_at
    if locked.db_now > pickup_at:
        raise Problem(
            409, "pickup_has_passed", f"a booking can be cancelled until its pickup_at ({pickup_at:%Y-%m-%dT%H:%M:%SZ})"
        )
    transition = process.cancel(locked.booking, context.now)
    await work.save(transition.booking)
    return HandlerResult(requests=transition.requests, events=transition.events)


async def find_booking(context: ServiceContext[BookingWork], booking_id: str, rider_id: str | None) -> Booking:
    """Read a booking, if given only one of this rider. Raises Problem if there is no such booking."""
    async with context.units.commands() as work:
        booking = await work.find(booking_id)
    if booking is None or rider_id not in {None, booking.ride.rider_id}:
        raise Problem(404, "no_such_booking", "check the id in the Location of the response to POST /v1/bookings")
    return booking


async def cancel_ride(
    context: ServiceContext[BookingWork], booking_id: str, rider_id: str | None, trace: TraceContext
) -> Booking:
    """Cancel the booking, if given only one of this rider, and return its next state.

    Raises Problem if there is none, or if it is too late.
    """
    booking = await find_booking(context, booking_id, rider_id)
    await context.gateway.execute(
        CancelBooking(booking_id), MessageContext(booking.id, booking.plan, trace, context.clock())
    )
    return await find_booking(context, booking_id, rider_id)
