"""Booking's handlers: load, decide, save."""

from collections.abc import Awaitable, Callable

import msgspec

from prebook.booking import metrics, process
from prebook.booking.domain.booking import Booking
from prebook.booking.process import BookingTransition
from prebook.booking.store import BookingWork, LockedBooking
from prebook.contracts.events import ReportDue
from prebook.contracts.matching import DriverReply
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import RiderNotified
from prebook.contracts.pricing import FareReply
from prebook.messaging.errors import PermanentFailure
from prebook.messaging.handlers import HandlerContext, HandlerResult, PreTransaction

SendCallback = Callable[[str, str, bytes], Awaitable[None]]
"""URL, id and body of a signed call to a rider's own system."""


class UnknownBooking(PermanentFailure):
    """An answer about a booking that is not here."""

    cause = "unknown_booking"


async def handle_fare_reply(
    context: HandlerContext, reply: FareReply | Unavailable, work: BookingWork
) -> HandlerResult:
    held = await _lock_booking(context, work)
    reckoned = process.rebase_validity(
        reply, occurred_at=context.occurred_at or context.now, requested_at=held.requested_at
    )
    return await _save_transition(held.booking, process.apply_fare_reply(held.booking, reckoned, context.now), work)


async def handle_driver_reply(
    context: HandlerContext, reply: DriverReply | Unavailable, work: BookingWork
) -> HandlerResult:
    held = await _lock_booking(context, work)
    step = process.apply_driver_reply(held.booking, reply, context.now, db_now=held.db_now)
    return await _save_transition(held.booking, step, work)


async def handle_notification_reply(
    context: HandlerContext, reply: RiderNotified | Unavailable, work: BookingWork
) -> HandlerResult:
    booking = (await _lock_booking(context, work)).booking
    return await _save_transition(
        booking, process.apply_notification_reply(booking, reply, context.request_key, context.now), work
    )


def callback_sender(send: SendCallback) -> PreTransaction:
    """Tells the rider's own system. Repeated under the same id until it has been taken."""

    async def pre_transaction(about: HandlerContext, due: ReportDue) -> ReportDue:
        told = {"type": "booking.settled.v1", "booking_id": due.booking_id, "outcome": due.outcome}
        body = msgspec.json.encode({**told, "fare": due.fare, "reason": due.reason})
        await send(due.report_url, about.message_id, body)
        return due

    return pre_transaction


async def handle_report_due(_: HandlerContext, __: ReportDue, ___: BookingWork) -> HandlerResult:
    """The call was the effect; what is left is the inbox's note that it was made."""
    return HandlerResult()


async def _lock_booking(context: HandlerContext, work: BookingWork) -> LockedBooking:
    held = await work.lock(context.conversation_id)
    if held is None:
        raise UnknownBooking(
            f"there is no booking {context.conversation_id}: look whether booking's tables were restored or emptied"
        )
    return held


async def _save_transition(before: Booking, transition: BookingTransition, work: BookingWork) -> HandlerResult:
    if transition.booking is not before:
        await work.save(transition.booking)
        metrics.count_expired(before, transition.booking)
    return HandlerResult(requests=transition.requests, events=transition.events)
