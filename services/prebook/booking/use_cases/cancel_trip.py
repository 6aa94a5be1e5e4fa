"""Use case: a rider cancels a trip, with all of its legs."""

from dataclasses import dataclass

from prebook.booking import trip_process
from prebook.booking.store import BookingWork
from prebook.booking.use_cases.find_trip import FoundTrip, find_trip
from prebook.booking.use_cases.trip_transition import save_transition
from prebook.contracts.trip import TripState
from prebook.http.problems import Problem
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.messaging.staging import MessageContext
from prebook.patterns.trace import TraceContext
from prebook.runtime.service import ServiceContext


@dataclass(frozen=True, slots=True)
class CancelTrip:
    """Command: cancel a trip that is not over, until its first pickup; a second cancellation changes nothing."""

    trip_id: str


async def cancel_trip(context: HandlerContext, command: CancelTrip, work: BookingWork) -> HandlerResult:
    """Cancel the trip and every leg that is not over, in one transaction.

    Raises Problem if the trip is over for another reason, or if the first pickup of a leg that is not over has passed
    on the store's clock: that ride may have taken place, and a trip is cancelled as a whole or not at all.
    """
    locked = await work.lock_trip(command.trip_id)
    if locked is None or locked.trip.state is TripState.CANCELLED:
        return HandlerResult()
    if locked.trip.is_over:
        raise Problem(409, "trip_over", f"it is {locked.trip.state} already; there is nothing to cancel")
    pickups = [leg.ride.pickup_at for leg in await work.lock_legs(command.trip_id) if not leg.is_over]
    if pickups and locked.db_now > min(pickups):
        detail = f"a trip can be cancelled until its first pickup_at ({min(pickups):%Y-%m-%dT%H:%M:%SZ})"
        raise Problem(409, "pickup_has_passed", detail)
    return await save_transition(locked.trip, trip_process.cancel_trip(locked.trip, context.now), context, work)


async def cancel_whole_trip(
    context: ServiceContext[BookingWork], trip_id: str, rider_id: str | None, trace: TraceContext
) -> FoundTrip:
    """Cancel the trip, if given only one of this rider, and return its next state.

    Raises Problem if there is none, or if it is too late.
    """
    trip = (await find_trip(context, trip_id, rider_id)).trip
    await context.gateway.execute(CancelTrip(trip_id), MessageContext(trip.id, trip.plan, trace, context.clock()))
    return await find_trip(context, trip_id, rider_id)
