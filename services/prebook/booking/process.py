"""A rider prebooks a ride: price it, find a driver, tell the rider.

The whole use case, written once. Each step takes the booking and what has just become known, and returns the
booking, what to ask next and what to tell the world. How an answer came cannot be told from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from prebook.booking.domain.booking import Booking, Quote
from prebook.contracts.booking import Driver, State
from prebook.contracts.events import BookingConfirmed, BookingEnded, Ending, ReportDue
from prebook.contracts.matching import DriverAnswer, DriverMatched, FindDriver, NoDriverFound
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.pricing import FareAnswer, FareQuoted, FareRefused, QuoteFare
from prebook.flows import BOOKING_CONFIRMED, BOOKING_ENDED, FIND_DRIVER, NOTIFY_RIDER, QUOTE_FARE, REPORT_DUE, Ask, Fact

MOST_TELLINGS = 8
LONGEST_PAUSE_S = 16.0

QUOTE_RAN_OUT = "quote ran out"
PICKUP_PASSED = "the time of the pickup has passed"

TEXTS: Mapping[Notice, str] = {
    Notice.CONFIRMED: "Your ride on {pickup_at:%d %b %Y at %H:%M} UTC is confirmed.",
    Notice.REJECTED: "We could not book your ride on {pickup_at:%d %b %Y at %H:%M} UTC: {reason}.",
    Notice.EXPIRED: "Your booking for {pickup_at:%d %b %Y at %H:%M} UTC took too long and has expired.",
    Notice.FAILED: "Your ride on {pickup_at:%d %b %Y at %H:%M} UTC could not be booked, please try again.",
    Notice.CANCELLED: "Your ride on {pickup_at:%d %b %Y at %H:%M} UTC is cancelled.",
}


@dataclass(frozen=True, slots=True)
class Step:
    """The next booking, and what follows from it."""

    booking: Booking
    asks: tuple[Ask, ...] = ()
    facts: tuple[Fact, ...] = ()


def requested(booking: Booking) -> Step:
    ride = booking.ride
    wanted = QuoteFare(
        pickup=ride.pickup,
        dropoff=ride.dropoff,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
    return Step(booking, (QUOTE_FARE.ask(wanted),))


def reckoned(answer: FareAnswer | Unavailable, *, said_at: datetime, asked_at: datetime) -> FareAnswer | Unavailable:
    """The answer with its validity on our clock: as long as pricing said, counted from before it was asked.

    Both ends of what pricing says are on pricing's clock, so that their distance is right even where that clock is not.
    """
    if not isinstance(answer, FareQuoted):
        return answer
    return structs.replace(answer, valid_until=asked_at + (answer.valid_until - said_at))


def fare_known(booking: Booking, answer: FareAnswer | Unavailable, now: datetime) -> Step:
    if booking.state is not State.REQUESTED:
        return Step(booking)
    match answer:
        case FareQuoted(fare=fare, valid_until=valid_until):
            return _search(booking.priced(Quote(fare=fare, valid_until=valid_until), now))
        case FareRefused(reason=reason):
            return _end(booking, State.REJECTED, f"no fare: {reason}", now)
        case Unavailable():
            return _unanswered(booking, "no fare", answer, now)


def driver_known(
    booking: Booking, answer: DriverAnswer | Unavailable, now: datetime, *, looked_at: datetime | None = None
) -> Step:
    """A driver found for a booking that is over is let go by the fact that told so.

    ``looked_at``: the time on the clock that the quote's validity is on, where that is another one.
    """
    if booking.state is not State.PRICED:
        return Step(booking)
    match answer:
        case DriverMatched(fleet=fleet, driver=driver, minutes_away=minutes):
            matched = booking.matched(Driver(fleet=fleet, id=driver, minutes_away=minutes), now)
            return _confirm(matched, now, looked_at or now)
        case NoDriverFound(reason=reason):
            return _end(booking, State.REJECTED, f"no driver: {reason}", now)
        case Unavailable():
            return _unanswered(booking, "no driver", answer, now)


def cancelled(booking: Booking, now: datetime) -> Step:
    """Raises IllegalTransition where the booking is over."""
    return _end(booking, State.CANCELLED, "cancelled by the rider", now)


def rider_told(booking: Booking, answer: RiderNotified | Unavailable, key: str, now: datetime) -> Step:
    """``key`` is the one that the question was asked under."""
    notice, _, count = key.partition(".")
    if notice != booking.state or booking.notified_at is not None:
        return Step(booking)
    if isinstance(answer, RiderNotified):
        return Step(booking.told(now))
    tellings = int(count or 1)
    if tellings >= MOST_TELLINGS:
        return Step(booking.untold("notification_failed"))
    return Step(booking, (_tell(booking, tellings + 1),))


def _search(booking: Booking) -> Step:
    ride = booking.ride
    wanted = FindDriver(
        pickup=ride.pickup,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
    return Step(booking, (FIND_DRIVER.ask(wanted),))


def _confirm(booking: Booking, now: datetime, looked_at: datetime) -> Step:
    quote, driver = booking.quote, booking.driver
    if quote is None or driver is None or looked_at > quote.valid_until:
        return _end(booking, State.EXPIRED, QUOTE_RAN_OUT, now)
    if looked_at > booking.ride.pickup_at:
        return _end(booking, State.EXPIRED, PICKUP_PASSED, now)
    told = BookingConfirmed(booking_id=booking.id, fleet=driver.fleet, driver=driver.id, fare=quote.fare)
    confirmed = booking.confirmed(now)
    return Step(confirmed, (_tell(confirmed),), (BOOKING_CONFIRMED.fact(told), *_reports(confirmed)))


def _unanswered(booking: Booking, lacking: str, silence: Unavailable, now: datetime) -> Step:
    state = State.EXPIRED if silence.reason == "deadline" else State.FAILED
    return _end(booking, state, f"{lacking}: {silence.reason}", now)


def _end(booking: Booking, state: State, reason: str, now: datetime) -> Step:
    ended = booking.ended(state, reason, now)
    told = BookingEnded(booking_id=booking.id, ending=Ending(state), reason=reason)
    return Step(ended, (_tell(ended),), (BOOKING_ENDED.fact(told), *_reports(ended)))


def _reports(booking: Booking) -> tuple[Fact, ...]:
    """One for each outcome: a booking that is confirmed and then cancelled has two."""
    if booking.ride.report_to is None:
        return ()
    due = ReportDue(
        booking_id=booking.id,
        report_to=booking.ride.report_to,
        outcome=booking.state,
        fare=booking.quote.fare if booking.quote else None,
        reason=booking.reason,
    )
    return (REPORT_DUE.fact(due, key=booking.state),)


def _tell(booking: Booking, telling: int = 1) -> Ask:
    """The first telling at once, the others after 1, 2, 4, 8, 16, 16, ... seconds."""
    notice = Notice(booking.state)
    text = TEXTS[notice].format(pickup_at=booking.ride.pickup_at, reason=booking.reason)
    again = telling > 1
    return NOTIFY_RIDER.ask(
        NotifyRider(rider_id=booking.ride.rider_id, notice=notice, text=text),
        key=f"{notice}.{telling}" if again else notice.value,
        after_s=min(LONGEST_PAUSE_S, 2.0 ** (telling - 2)) if again else 0.0,
    )
