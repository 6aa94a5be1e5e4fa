"""Booking's handlers: load, decide, save."""

from prebook.booking import process
from prebook.booking.domain.booking import Booking
from prebook.booking.process import Step
from prebook.booking.store import BookingWork
from prebook.contracts.matching import DriverAnswer
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import RiderNotified
from prebook.contracts.pricing import FareAnswer
from prebook.messaging.failures import Permanent
from prebook.messaging.outcome import Context, Outcome


class UnknownBooking(Permanent):
    """An answer about a booking that is not here."""

    cause = "unknown_booking"


async def fare_known(about: Context, answer: FareAnswer | Unavailable, work: BookingWork) -> Outcome:
    booking = await _booking(about, work)
    return await _taken(booking, process.fare_known(booking, answer, about.now), work)


async def driver_known(about: Context, answer: DriverAnswer | Unavailable, work: BookingWork) -> Outcome:
    booking = await _booking(about, work)
    return await _taken(booking, process.driver_known(booking, answer, about.now), work)


async def rider_told(about: Context, answer: RiderNotified | Unavailable, work: BookingWork) -> Outcome:
    booking = await _booking(about, work)
    return await _taken(booking, process.rider_told(booking, answer, about.key, about.now), work)


async def _booking(about: Context, work: BookingWork) -> Booking:
    booking = await work.hold(about.conversation)
    if booking is None:
        raise UnknownBooking(
            f"there is no booking {about.conversation}: look whether booking's tables were restored or emptied"
        )
    return booking


async def _taken(before: Booking, step: Step, work: BookingWork) -> Outcome:
    if step.booking is not before:
        await work.save(step.booking)
    return Outcome(asks=step.asks, facts=step.facts)
