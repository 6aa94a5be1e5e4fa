"""Booking's handlers: load, decide, save."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from prebook.booking import metrics, process
from prebook.booking.domain.booking import Booking
from prebook.booking.domain.trip import TRIP_ID_PREFIX
from prebook.booking.process import BookingTransition
from prebook.booking.store import BookingWork, LockedBooking
from prebook.booking.trip_handlers import handle_trip_notification_reply
from prebook.contracts.events import ReportDue, TripReportDue
from prebook.contracts.matching import DriverReply
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import RiderNotified
from prebook.contracts.pricing import FareReply
from prebook.contracts.reports import BookingReport, TripReport
from prebook.messaging.errors import PermanentFailure
from prebook.messaging.handlers import HandlerContext, HandlerResult, PreTransaction

D = TypeVar("D", ReportDue, TripReportDue)
SendCallback = Callable[[str, str, bytes], Awaitable[None]]
"""Function that sends a signed callback to a rider's own system; its arguments are URL, message id and body."""


class UnknownBooking(PermanentFailure):
    """A reply refers to a booking that is not in the store."""

    cause = "unknown_booking"


async def handle_fare_reply(
    context: HandlerContext, reply: FareReply | Unavailable, work: BookingWork
) -> HandlerResult:
    """Price the booking and request a driver, or end the booking without a fare."""
    locked = await _lock_booking(context, work)
    rebased_reply = process.rebase_validity(
        reply,
        occurred_at=context.occurred_at or context.now,
        requested_at=locked.requested_at,
        db_now=locked.db_now,
    )
    transition = process.apply_fare_reply(locked.booking, rebased_reply, context.now)
    return await _save_transition(locked.booking, transition, work)


async def handle_driver_reply(
    context: HandlerContext, reply: DriverReply | Unavailable, work: BookingWork
) -> HandlerResult:
    """Confirm the booking with the matched driver, or end it without a driver."""
    locked = await _lock_booking(context, work)
    transition = process.apply_driver_reply(locked.booking, reply, context.now, db_now=locked.db_now)
    return await _save_transition(locked.booking, transition, work)


async def handle_notification_reply(
    context: HandlerContext, reply: RiderNotified | Unavailable, work: BookingWork
) -> HandlerResult:
    """Record that the rider has been notified of the booking or trip, or request the next attempt."""
    if context.conversation_id.startswith(TRIP_ID_PREFIX):
        return await handle_trip_notification_reply(context, reply, work)
    booking = (await _lock_booking(context, work)).booking
    return await _save_transition(
        booking, process.apply_notification_reply(booking, reply, context.request_key, context.now), work
    )


def callback_sender(send: SendCallback, report_of: Callable[[D], BookingReport | TripReport]) -> PreTransaction:
    """Pre-transaction step that calls back the rider's own system, under the event's message id in every attempt."""

    async def pre_transaction(context: HandlerContext, due: D) -> D:
        await send(due.report_url, context.message_id, msgspec.json.encode(report_of(due)))
        return due

    return pre_transaction


def booking_report(due: ReportDue) -> BookingReport:
    """Return the report about a booking for its rider's system. Source: EIP, Message Translator."""
    return BookingReport(
        booking_id=due.booking_id,
        sequence=due.sequence,
        occurred_at=due.occurred_at,
        outcome=due.outcome,
        fare=due.fare,
        reason=due.reason,
    )


def trip_report(due: TripReportDue) -> TripReport:
    """Return the report about a trip for its rider's system. Source: EIP, Message Translator."""
    return TripReport(
        trip_id=due.trip_id,
        outcome=due.outcome,
        completed_by=due.completed_by,
        legs=due.legs,
        fare=due.fare,
        reason=due.reason,
        occurred_at=due.occurred_at,
        sequence=due.sequence,
    )


async def handle_report_due(_: HandlerContext, __: ReportDue | TripReportDue, ___: BookingWork) -> HandlerResult:
    """Store the inbox entry only, because the callback was sent before the transaction."""
    return HandlerResult()


async def _lock_booking(context: HandlerContext, work: BookingWork) -> LockedBooking:
    locked = await work.lock(context.conversation_id)
    if locked is None:
        raise UnknownBooking(
            f"there is no booking {context.conversation_id}: check whether booking's tables were restored or emptied"
        )
    return locked


async def _save_transition(before: Booking, transition: BookingTransition, work: BookingWork) -> HandlerResult:
    if transition.booking is not before:
        await work.save(transition.booking)
        metrics.count_expired(before, transition.booking)
    return HandlerResult(requests=transition.requests, events=transition.events)
