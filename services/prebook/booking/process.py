"""A rider prebooks a ride: price it, find a driver, notify the rider.

The whole use case, written once. Each transition takes a booking and a message, and returns the next booking with the
requests and events that follow. Transitions are pure and do not depend on the coupling that delivered the message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec import structs

from prebook.booking.domain.booking import Booking, Quote
from prebook.booking.domain.notification_attempts import (
    MAX_NOTIFY_ATTEMPTS,
    NOTIFICATION_FAILED,
    Delivered,
    GaveUp,
    NextAttempt,
    attempt_key,
    follow_up,
    notify_request,
)
from prebook.contracts.distance import SECONDS_PER_MINUTE, distance_m, ride_minutes
from prebook.contracts.events import BookingConfirmed, BookingEnded, BookingEnding, LegSettled, ReportDue
from prebook.contracts.matching import DriverMatched, DriverReply, FindDriver, NoDriverFound
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.pricing import FareQuoted, FareRefused, FareReply, QuoteFare
from prebook.contracts.ride import BookingState, Driver, Stop
from prebook.contracts.trip import LegOutcome
from prebook.contracts.zone import dispatch_zone
from prebook.flows import (
    BOOKING_CONFIRMED,
    BOOKING_ENDED,
    FIND_DRIVER,
    LEG_SETTLED,
    NOTIFY_RIDER,
    QUOTE_FARE,
    REPORT_DUE,
    Event,
    Request,
)

SWEPT = "swept"
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
    """The next booking, with the requests and events that follow from it."""

    booking: Booking
    requests: tuple[Request, ...] = ()
    events: tuple[Event, ...] = ()


def start(booking: Booking, *, names_rider: bool = False) -> BookingTransition:
    """Request the fare of a new booking. ``names_rider``: whether the request contains the rider's id."""
    ride = booking.ride
    request = QuoteFare(
        pickup=ride.pickup,
        dropoff=ride.dropoff,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
        rider_id=ride.rider_id if names_rider else None,
    )
    return BookingTransition(booking, (QUOTE_FARE.new_request(request),))


def rebase_validity(
    reply: FareReply | Unavailable, *, occurred_at: datetime, requested_at: datetime, db_now: datetime
) -> FareReply | Unavailable:
    """Express the validity of a quote on the clock of booking's store: same duration, counted from when it was made.

    A quote is valid from then on, however long its request had to wait. ``valid_until`` and ``occurred_at`` are both on
    pricing's clock, so their difference is right even if that clock is wrong. The quote was made between
    ``requested_at`` and ``db_now``, whatever that clock says. Replies other than FareQuoted are returned unchanged.
    """
    if not isinstance(reply, FareQuoted):
        return reply
    made_at = min(max(occurred_at, requested_at), db_now)
    return structs.replace(reply, valid_until=made_at + (reply.valid_until - occurred_at))


def apply_fare_reply(booking: Booking, reply: FareReply | Unavailable, now: datetime) -> BookingTransition:
    """Price a requested booking and request a driver, or end it without a fare. No change in any other state."""
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
    """Confirm a priced booking with its driver, or end it without one. No change in any other state.

    A driver found for a booking that is over is released by the BookingEnded event sent when it ended.
    ``db_now``: current time on the clock of the quote's validity; ``now`` if both clocks are the same.
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
    """Cancel the booking for its rider. Raises IllegalTransition if the booking is over."""
    return _end(booking, BookingState.CANCELLED, "cancelled by the rider", now)


def end_leg(booking: Booking, reason: str, now: datetime) -> BookingTransition:
    """Cancel a leg for its trip, which knows it already. Raises IllegalTransition if the booking is over."""
    ended = booking.ended(BookingState.CANCELLED, reason, now)
    return BookingTransition(ended, events=(_ended_event(booking, BookingState.CANCELLED, reason),))


def apply_notification_reply(
    booking: Booking, reply: RiderNotified | Unavailable, key: str, now: datetime
) -> BookingTransition:
    """Record that the rider has been notified, or request the next attempt, up to MAX_NOTIFY_ATTEMPTS.

    ``key``: request key of the notice, ``<notice>`` or ``<notice>.<attempt>``. A reply about a superseded notice
    changes nothing.
    """
    awaited = None if booking.notified_at else booking.state
    match follow_up(reply, key, awaited):
        case Delivered():
            return BookingTransition(booking.notified(now))
        case NextAttempt(attempt=attempt):
            return BookingTransition(booking, (_notify_request(booking, attempt),))
        case GaveUp():
            return BookingTransition(booking.with_note(NOTIFICATION_FAILED))
        case None:
            return BookingTransition(booking)


@dataclass(frozen=True, slots=True)
class AwaitedReply:
    """The reply that a booking in its state waits for."""

    flow: str
    keys: tuple[str, ...]
    """Keys of the requests of which one is open."""
    sweep_key: str
    """Key for a reply in place of the missing one."""


def awaited_reply(booking: Booking) -> AwaitedReply | None:
    """Return the reply that the booking waits for; None once its rider is notified, or can no longer be.

    A settled leg of a trip waits for none: its trip notifies the rider.
    """
    if booking.state is BookingState.REQUESTED:
        return AwaitedReply(QUOTE_FARE.name, ("",), SWEPT)
    if booking.state is BookingState.PRICED:
        return AwaitedReply(FIND_DRIVER.name, ("",), SWEPT)
    if booking.leg or booking.notified_at is not None or NOTIFICATION_FAILED in (booking.reason or ""):
        return None
    keys = tuple(attempt_key(booking.state, attempt) for attempt in range(1, MAX_NOTIFY_ATTEMPTS + 1))
    return AwaitedReply(NOTIFY_RIDER.name, keys, keys[-1])


def _request_driver(booking: Booking) -> BookingTransition:
    ride = booking.ride
    request = FindDriver(
        pickup=Stop(place=ride.pickup),
        pickup_at=ride.pickup_at,
        ride_s=ride_minutes(ride.pickup, ride.dropoff) * SECONDS_PER_MINUTE,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
    return BookingTransition(booking, (FIND_DRIVER.new_request(request),))


def _confirm(booking: Booking, now: datetime, db_now: datetime) -> BookingTransition:
    quote = booking.quote
    driver = booking.driver
    if quote is None or driver is None or db_now > quote.valid_until:
        return _end(booking, BookingState.EXPIRED, QUOTE_EXPIRED, now)
    if db_now > booking.ride.pickup_at:
        return _end(booking, BookingState.EXPIRED, PICKUP_PASSED, now)
    ride = booking.ride
    event = BookingConfirmed(
        booking_id=booking.id,
        fleet=driver.fleet,
        driver=driver.id,
        fare=quote.fare,
        vehicle_class=ride.vehicle_class,
        pickup_at=ride.pickup_at,
        zone=dispatch_zone(ride.pickup),
        distance_m=distance_m(ride.pickup, ride.dropoff),
    )
    return _settle(booking.confirmed(now), BOOKING_CONFIRMED.new_event(event))


def _end_unavailable(booking: Booking, missing: str, unavailable: Unavailable, now: datetime) -> BookingTransition:
    state = BookingState.EXPIRED if unavailable.reason == "deadline" else BookingState.FAILED
    return _end(booking, state, f"{missing}: {unavailable.reason}", now)


def _end(booking: Booking, state: BookingState, reason: str, now: datetime) -> BookingTransition:
    return _settle(booking.ended(state, reason, now), _ended_event(booking, state, reason))


def _ended_event(booking: Booking, state: BookingState, reason: str) -> Event:
    return BOOKING_ENDED.new_event(BookingEnded(booking_id=booking.id, ending=BookingEnding(state), reason=reason))


def _settle(booking: Booking, event: Event) -> BookingTransition:
    """Tell the outcome of a settled booking: to its rider, or to its trip, which alone has something to tell."""
    if booking.leg is None:
        return BookingTransition(booking, (_notify_request(booking),), (event, *_report_events(booking)))
    settled = LegSettled(leg=booking.leg.number, booking_id=booking.id, outcome=_outcome_of(booking))
    return BookingTransition(
        booking,
        events=(
            event,
            LEG_SETTLED.new_event(settled, key=str(booking.leg.number), conversation_id=booking.leg.trip_id),
        ),
    )


def _outcome_of(booking: Booking) -> LegOutcome:
    is_confirmed = booking.state is BookingState.CONFIRMED
    return LegOutcome(
        state=booking.state,
        fare=booking.quote.fare if booking.quote and is_confirmed else None,
        reason=booking.reason,
    )


def _report_events(booking: Booking) -> tuple[Event, ...]:
    """ReportDue for the booking's current outcome; a booking that is confirmed and then cancelled emits two."""
    if booking.ride.report_url is None:
        return ()
    due = ReportDue(
        booking_id=booking.id,
        report_url=booking.ride.report_url,
        outcome=booking.state,
        fare=booking.quote.fare if booking.quote else None,
        reason=booking.reason,
        occurred_at=booking.history[-1].at,
        sequence=len(booking.history),
    )
    return (REPORT_DUE.new_event(due, key=booking.state),)


def _notify_request(booking: Booking, attempt: int = 1) -> Request:
    notice = Notice(booking.state)
    text = NOTICE_TEXTS[notice].format(pickup_at=booking.ride.pickup_at, reason=booking.reason)
    return notify_request(NotifyRider(rider_id=booking.ride.rider_id, notice=notice, text=text), attempt)
