"""Booking's handlers: load, decide, save."""

from collections.abc import Awaitable, Callable

import msgspec

from prebook.booking import metrics, process
from prebook.booking.domain.booking import Booking
from prebook.booking.process import Step
from prebook.booking.store import BookingWork, Held
from prebook.contracts.events import ReportDue
from prebook.contracts.matching import DriverAnswer
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import RiderNotified
from prebook.contracts.pricing import FareAnswer
from prebook.messaging.errors import Permanent
from prebook.messaging.handlers import Consult, Context, Outcome

Send = Callable[[str, str, bytes], Awaitable[None]]
"""URL, id and body of a signed call to a rider's own system."""


class UnknownBooking(Permanent):
    """An answer about a booking that is not here."""

    cause = "unknown_booking"


async def fare_known(about: Context, answer: FareAnswer | Unavailable, work: BookingWork) -> Outcome:
    held = await _held(about, work)
    reckoned = process.reckoned(answer, said_at=about.said_at or about.now, asked_at=held.asked_at)
    return await _taken(held.booking, process.fare_known(held.booking, reckoned, about.now), work)


async def driver_known(about: Context, answer: DriverAnswer | Unavailable, work: BookingWork) -> Outcome:
    held = await _held(about, work)
    step = process.driver_known(held.booking, answer, about.now, looked_at=held.looked_at)
    return await _taken(held.booking, step, work)


async def rider_told(about: Context, answer: RiderNotified | Unavailable, work: BookingWork) -> Outcome:
    booking = (await _held(about, work)).booking
    return await _taken(booking, process.rider_told(booking, answer, about.key, about.now), work)


def reporting(send: Send) -> Consult:
    """Tells the rider's own system. Repeated under the same id until it has been taken."""

    async def consult(about: Context, due: ReportDue) -> ReportDue:
        told = {"type": "booking.settled.v1", "booking_id": due.booking_id, "outcome": due.outcome}
        body = msgspec.json.encode({**told, "fare": due.fare, "reason": due.reason})
        await send(due.report_to, about.message_id, body)
        return due

    return consult


async def reported(_: Context, __: ReportDue, ___: BookingWork) -> Outcome:
    """The call was the effect; what is left is the inbox's note that it was made."""
    return Outcome()


async def _held(about: Context, work: BookingWork) -> Held:
    held = await work.hold(about.conversation)
    if held is None:
        raise UnknownBooking(
            f"there is no booking {about.conversation}: look whether booking's tables were restored or emptied"
        )
    return held


async def _taken(before: Booking, step: Step, work: BookingWork) -> Outcome:
    if step.booking is not before:
        await work.save(step.booking)
        metrics.moved(before, step.booking)
    return Outcome(asks=step.asks, facts=step.facts)
