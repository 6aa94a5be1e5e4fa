"""Booking's handlers of messages about trips."""

from prebook.booking import metrics, trip_process
from prebook.booking.store import BookingWork
from prebook.booking.use_cases.trip_transition import UnknownTrip, lock_trip, save_transition
from prebook.contracts.events import LegSettled
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import RiderNotified
from prebook.messaging.handlers import HandlerContext, HandlerResult


async def handle_leg_settled(context: HandlerContext, event: LegSettled, work: BookingWork) -> HandlerResult:
    """Add the outcome of a leg to its trip, and settle the trip if that completes it. Source: EIP, Aggregator.

    The lock on the trip serialises the outcomes of its legs: of two that arrive at once, the second one sees the first.
    """
    trip = (await lock_trip(context.conversation_id, work)).trip
    try:
        verdict = trip.legs.verdict_on(event.leg)
        transition = trip_process.settle_leg(trip, event.leg, event.outcome, context.now)
    except ValueError as error:
        raise UnknownTrip(str(error)) from error
    metrics.count_leg_outcome(verdict)
    return await save_transition(trip, transition, context, work)


async def handle_trip_notification_reply(
    context: HandlerContext, reply: RiderNotified | Unavailable, work: BookingWork
) -> HandlerResult:
    """Record that the rider has been notified of the trip, or request the next attempt."""
    trip = (await lock_trip(context.conversation_id, work)).trip
    transition = trip_process.apply_notification_reply(trip, reply, context.request_key, context.now)
    return await save_transition(trip, transition, context, work)
