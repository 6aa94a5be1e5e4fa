"""A rider prebooks a ride: price it, find a driver, tell the rider.

The whole use case, written once. Each step takes the booking and what has just become known, and returns the
booking, what to ask next and what to tell the world. How an answer came cannot be told from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from prebook.booking.domain.booking import Booking, Quote
from prebook.contracts.events import BookingConfirmed, BookingEnded, BookingEnding, ReportDue
from prebook.contracts.matching import DriverMatched, DriverReply, FindDriver, NoDriverFound
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.pricing import FareQuoted, FareRefused, FareReply, QuoteFare
from prebook.contracts.ride import BookingState, Driver
from prebook.flows import (
    BOOKING_CONFIRMED,
    BOOKING_ENDED,
    FIND_DRIVER,
    NOTIFY_RIDER,
    QUOTE_FARE,
    REPORT_DUE,
    Event,
    Request,
)

MAX_NOTIFY_ATTEMPTS = 8
MAX_NOTIFY_BACKOFF_S = 16.0

QUOTE_EXPIRED = "quote expired"
PICKUP_PASSED = "the time of the pickup has passed"

NOTICE_TEXTS: Mapping[Notice, str] = {
    Notice.CONFIRMED: "Your ride on {pickup_at:%d %b %Y at %H:%M} UTC is confirmed.",
    Notice.REJECTED: "We could not book your ride on {pickup_at:%d %b %Y at %H:%M} UTC: {reason}.",
    Notice.EXPIRED: "Your booking for {pickup_at:%d %b %Y at %H:%M} UTC took too long and has expired.",
    Notice.FAILED: "Your ride on {pickup_at:%d %b %Y at %H:%M} UTC could not be booked, please try again.",
    Notice.CANCELLED: "Your ride on {pickup_at:%d %b %Y at %H:%M} UTC is cancelled.",
}


@dataclass(frozen=True, slots=True)
class BookingTransition:
    """The next booking, and what follows from it."""

    booking: Booking
    requests: tuple[Request, ...] = ()
    events: tuple[Event, ...] = ()


def start(booking: Booking) -> BookingTransition:
    ride = booking.ride
    wanted = QuoteFare(
        pickup=ride.pickup,
        dropoff=ride.dropoff,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
    return BookingTransition(booking, (QUOTE_FARE.new_request(wanted),))


def rebase_validity(
    reply: FareReply | Unavailable, *, occurred_at: datetime, requested_at: datetime
) -> FareReply | Unavailable:
    """The answer with its validity on our clock: as long as pricing said, counted from before it was asked.

    Both ends of what pricing says are on pricing's clock, so that their distance is right even where that clock is not.
    """
    if not isinstance(reply, FareQuoted):
        return reply
    return structs.replace(reply, valid_until=requested_at + (reply.valid_until - occurred_at))


def apply_fare_reply(booking: Booking, reply: FareReply | Unavailable, now: datetime) -> BookingTransition:
    if booking.state is not BookingState.REQUESTED:
        return BookingTransition(booking)
    match reply:
        case FareQuoted(fare=fare, valid_until=valid_until):
            return _request_driver(booking.priced(Quote(fare=fare, valid_until=valid_until), now))
        case FareRefused(reason=reason):
            return _end(booking, BookingState.REJECTED, f"no fare: {reason}", now)
        case Unavailable():
            return _end_unavailable(booking, "no fare", reply, now)


def apply_driver_reply(
    booking: Booking, reply: DriverReply | Unavailable, now: datetime, *, db_now: datetime | None = None
) -> BookingTransition:
    """A driver found for a booking that is over is let go by the fact that told so.

    ``looked_at``: the time on the clock that the quote's validity is on, where that is another one.
    """
    if booking.state is not BookingState.PRICED:
        return BookingTransition(booking)
    match reply:
        case DriverMatched(fleet=fleet, driver=driver, minutes_away=minutes):
            matched = booking.matched(Driver(fleet=fleet, id=driver, minutes_away=minutes), now)
            return _confirm(matched, now, db_now or now)
        case NoDriverFound(reason=reason):
            return _end(booking, BookingState.REJECTED, f"no driver: {reason}", now)
        case Unavailable():
            return _end_unavailable(booking, "no driver", reply, now)


def cancel(booking: Booking, now: datetime) -> BookingTransition:
    """Raises IllegalTransition where the booking is over."""
    return _end(booking, BookingState.CANCELLED, "cancelled by the rider", now)


def apply_notification_reply(
    booking: Booking, reply: RiderNotified | Unavailable, key: str, now: datetime
) -> BookingTransition:
    """``key`` is the one that the question was asked under."""
    notice, _, count = key.partition(".")
    if notice != booking.state or booking.notified_at is not None:
        return BookingTransition(booking)
    if isinstance(reply, RiderNotified):
        return BookingTransition(booking.notified(now))
    tellings = int(count or 1)
    if tellings >= MAX_NOTIFY_ATTEMPTS:
        return BookingTransition(booking.with_note("notification_failed"))
    return BookingTransition(booking, (_notify_request(booking, tellings + 1),))


def _request_driver(booking: Booking) -> BookingTransition:
    ride = booking.ride
    wanted = FindDriver(
        pickup=ride.pickup,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
    return BookingTransition(booking, (FIND_DRIVER.new_request(wanted),))


def _confirm(booking: Booking, now: datetime, db_now: datetime) -> BookingTransition:
    quote, driver = booking.quote, booking.driver
    if quote is None or driver is None or db_now > quote.valid_until:
        return _end(booking, BookingState.EXPIRED, QUOTE_EXPIRED, now)
    if db_now > booking.ride.pickup_at:
        return _end(booking, BookingState.EXPIRED, PICKUP_PASSED, now)
    told = BookingConfirmed(booking_id=booking.id, fleet=driver.fleet, driver=driver.id, fare=quote.fare)
    confirmed = booking.confirmed(now)
    return BookingTransition(
        confirmed, (_notify_request(confirmed),), (BOOKING_CONFIRMED.new_event(told), *_report_events(confirmed))
    )


def _end_unavailable(booking: Booking, missing: str, unavailable: Unavailable, now: datetime) -> BookingTransition:
    state = BookingState.EXPIRED if unavailable.reason == "deadline" else BookingState.FAILED
    return _end(booking, state, f"{missing}: {unavailable.reason}", now)


def _end(booking: Booking, state: BookingState, reason: str, now: datetime) -> BookingTransition:
    ended = booking.ended(state, reason, now)
    told = BookingEnded(booking_id=booking.id, ending=BookingEnding(state), reason=reason)
    return BookingTransition(ended, (_notify_request(ended),), (BOOKING_ENDED.new_event(told), *_report_events(ended)))


def _report_events(booking: Booking) -> tuple[Event, ...]:
    """One for each outcome: a booking that is confirmed and then cancelled has two."""
    if booking.ride.report_url is None:
        return ()
    due = ReportDue(
        booking_id=booking.id,
        report_url=booking.ride.report_url,
        outcome=booking.state,
        fare=booking.quote.fare if booking.quote else None,
        reason=booking.reason,
    )
    return (REPORT_DUE.new_event(due, key=booking.state),)


def _notify_request(booking: Booking, attempt: int = 1) -> Request:
    """The first telling at once, the others after 1, 2, 4, 8, 16, 16, ... seconds."""
    notice = Notice(booking.state)
    text = NOTICE_TEXTS[notice].format(pickup_at=booking.ride.pickup_at, reason=booking.reason)
    again = attempt > 1
    return NOTIFY_RIDER.new_request(
        NotifyRider(rider_id=booking.ride.rider_id, notice=notice, text=text),
        key=f"{notice}.{attempt}" if again else notice.value,
        delay_s=min(MAX_NOTIFY_BACKOFF_S, 2.0 ** (attempt - 2)) if again else 0.0,
    )
