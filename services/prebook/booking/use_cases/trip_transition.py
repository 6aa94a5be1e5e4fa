"""Transitions of a trip in one transaction: lock, decide, save, and end the legs that end with the trip."""

from prebook.booking import metrics, trip_process
from prebook.booking.domain.trip import Trip
from prebook.booking.store import BookingWork, LockedTrip
from prebook.booking.trip_process import TripTransition
from prebook.messaging.errors import PermanentFailure
from prebook.messaging.handlers import HandlerContext, HandlerResult


class UnknownTrip(PermanentFailure):
    """A message refers to a trip that is not in the store, or to a leg that the trip does not have."""

    cause = "unknown_trip"


async def lock_trip(trip_id: str, work: BookingWork) -> LockedTrip:
    """Lock the trip. Raises UnknownTrip if there is none."""
    locked = await work.lock_trip(trip_id)
    if locked is None:
        raise UnknownTrip(f"there is no trip {trip_id}: check whether booking's tables were restored or emptied")
    return locked


async def save_transition(
    before: Trip, transition: TripTransition, context: HandlerContext, work: BookingWork
) -> HandlerResult:
    """Save the trip and the legs that end with it; return the messages of all of them."""
    if transition.trip is before:
        return HandlerResult(requests=transition.requests, events=transition.events)
    await work.save_trip(transition.trip)
    legs = await work.lock_legs(before.id) if transition.legs_to_end else ()
    ended = trip_process.end_legs(legs, transition, context.now)
    for leg in ended:
        await work.save(leg.booking)
    metrics.count_completed_trip(before, transition.trip)
    return HandlerResult(
        requests=transition.requests, events=(*transition.events, *(event for leg in ended for event in leg.events))
    )
