"""A rider books a trip: split it into bookings, aggregate their outcomes, notify the rider once.

Each leg is a booking with a process of its own (``process``). Transitions are pure and do not depend on the coupling
that delivered a message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from prebook.booking import process
from prebook.booking.domain.booking import Booking, Ride, TripLeg
from prebook.booking.domain.notification_attempts import (
    NOTIFICATION_FAILED,
    Delivered,
    GaveUp,
    NextAttempt,
    follow_up,
    notify_request,
)
from prebook.booking.domain.trip import CONDITIONS, TRIP_ID_PREFIX, Trip, is_confirmed
from prebook.booking.process import BookingTransition
from prebook.contracts.events import TripReportDue
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.ride import BookingState, StateChange
from prebook.contracts.trip import MAX_LEGS, MIN_LEGS, LegOutcome, TripCompletion, TripPolicy, TripState
from prebook.flows import TRIP_REPORT_DUE, Event, Request
from prebook.patterns.splitter import split

NOTICES: Mapping[TripState, Notice] = {
    TripState.CONFIRMED: Notice.CONFIRMED,
    TripState.PARTLY_CONFIRMED: Notice.CONFIRMED,
    TripState.REJECTED: Notice.REJECTED,
    TripState.EXPIRED: Notice.EXPIRED,
    TripState.CANCELLED: Notice.CANCELLED,
}
"""Notice to the rider for each outcome of a trip."""
TRIP_NOTICE_TEXTS: Mapping[TripState, str] = {
    TripState.CONFIRMED: "All {legs} rides of your trip are confirmed.",
    TripState.PARTLY_CONFIRMED: "{confirmed} of the {legs} rides of your trip are confirmed: {reason}.",
    TripState.REJECTED: "We could not book your trip: {reason}.",
    TripState.EXPIRED: "Your trip took too long to book and has expired.",
    TripState.CANCELLED: "Your trip of {legs} rides is cancelled.",
}
CANCELLED_BY_RIDER = "the trip was cancelled by the rider"
NO_OUTCOME = "no outcome by the deadline of the trip"


@dataclass(frozen=True, slots=True)
class TripTransition:
    """The next trip, with the requests and events that follow, and the legs that end with it."""

    trip: Trip
    requests: tuple[Request, ...] = ()
    events: tuple[Event, ...] = ()
    legs_to_end: frozenset[int] = frozenset()
    """Numbers of the legs to cancel in the same transaction, unless they are over. Source: Saga, compensation."""


def split_trip(trip: Trip, rides: Sequence[Ride], *, names_rider: bool = False) -> list[BookingTransition]:
    """Start one booking for each ride of the trip. Raises ValueError if there are too few or too many.

    ``names_rider``: as for ``process.start``.
    """
    return [
        _in_own_conversation(
            process.start(
                Booking(
                    id=f"bk_{trip.id.removeprefix(TRIP_ID_PREFIX)}-{part.number}",
                    key=f"{trip.id}.{part.number}",
                    ride=part.content,
                    plan=trip.plan,
                    history=(StateChange(state=BookingState.REQUESTED, at=trip.accepted_at),),
                    leg=TripLeg(part.group_id, part.number),
                ),
                names_rider=names_rider,
            )
        )
        for part in split(trip.id, rides, min_size=MIN_LEGS, max_size=MAX_LEGS)
    ]


def settle_leg(trip: Trip, number: int, outcome: LegOutcome, now: datetime) -> TripTransition:
    """Add the outcome of a leg, and settle the trip if that completes it. A duplicate or late outcome changes nothing.

    Raises ValueError if the trip has no such leg.
    """
    legs = trip.legs.with_result(number, outcome, CONDITIONS[trip.policy])
    if legs is trip.legs:
        return TripTransition(trip)
    grown = trip.with_legs(legs)
    return TripTransition(grown) if legs.completed_by is None else _settle(grown, now)


def expire(trip: Trip, now: datetime) -> TripTransition:
    """Settle an open trip whose deadline has passed. No change in any other state."""
    if trip.is_settled:
        return TripTransition(trip)
    return _settle(trip.with_legs(trip.legs.completed(TripCompletion.DEADLINE)), now)


def cancel_trip(trip: Trip, now: datetime) -> TripTransition:
    """Cancel the trip with all its legs, for its rider. Raises IllegalTransition if the trip is over."""
    cancelled = trip.with_legs(trip.legs.completed(TripCompletion.CANCELLED))
    return _end(cancelled, TripState.CANCELLED, CANCELLED_BY_RIDER, now, _all_legs(trip))


def end_legs(legs: Sequence[Booking], transition: TripTransition, now: datetime) -> list[BookingTransition]:
    """Cancel those legs of the transition that are not over."""
    reason = f"the trip is {transition.trip.state}"
    ending = [leg for leg in legs if leg.leg and leg.leg.number in transition.legs_to_end and not leg.is_over]
    return [_in_own_conversation(process.end_leg(leg, reason, now)) for leg in ending]


def apply_notification_reply(trip: Trip, reply: RiderNotified | Unavailable, key: str, now: datetime) -> TripTransition:
    """Record that the rider has been notified, or request the next attempt.

    ``key``: request key of the notice. A reply about a superseded notice changes nothing.
    """
    awaited = None if trip.notified_at else NOTICES.get(trip.state)
    match follow_up(reply, key, awaited):
        case Delivered():
            return TripTransition(trip.notified(now))
        case NextAttempt(attempt=attempt):
            return TripTransition(trip, (_notify_request(trip, attempt),))
        case GaveUp():
            return TripTransition(trip.with_note(NOTIFICATION_FAILED))
        case None:
            return TripTransition(trip)


def _settle(trip: Trip, now: datetime) -> TripTransition:
    """Decide the outcome of a trip whose aggregate was completed by its legs or by its deadline."""
    confirmed = sum(map(is_confirmed, trip.legs.results.values()))
    reason = "; ".join(_leg_reasons(trip)) or None
    if confirmed == trip.legs.size:
        return _end(trip, TripState.CONFIRMED, None, now)
    if confirmed and trip.policy is TripPolicy.PARTIAL:
        return _end(trip, TripState.PARTLY_CONFIRMED, reason, now, trip.legs.missing)
    state = TripState.EXPIRED if trip.legs.completed_by is TripCompletion.DEADLINE else TripState.REJECTED
    return _end(trip, state, reason, now, _all_legs(trip))


def _end(
    trip: Trip, state: TripState, reason: str | None, now: datetime, legs_to_end: frozenset[int] = frozenset()
) -> TripTransition:
    ended = trip.ended(state, reason, now)
    return TripTransition(ended, (_notify_request(ended),), _report_events(ended), legs_to_end)


def _all_legs(trip: Trip) -> frozenset[int]:
    return frozenset(range(1, trip.legs.size + 1))


def _leg_reasons(trip: Trip) -> list[str]:
    """Reason of each leg that is not confirmed, in the order of the legs."""
    outcomes = [(number, trip.legs.results.get(number)) for number in sorted(_all_legs(trip))]
    is_deadline = trip.legs.completed_by is TripCompletion.DEADLINE
    return [
        f"leg {number}: {outcome.reason if outcome else NO_OUTCOME}"
        for number, outcome in outcomes
        if (is_deadline if outcome is None else not is_confirmed(outcome))
    ]


def _report_events(trip: Trip) -> tuple[Event, ...]:
    """TripReportDue for the trip's current outcome; a trip that is confirmed and then cancelled emits two."""
    if trip.report_url is None or trip.legs.completed_by is None:
        return ()
    due = TripReportDue(
        trip_id=trip.id,
        report_url=trip.report_url,
        outcome=trip.state,
        completed_by=trip.legs.completed_by,
        legs=tuple(trip.legs.results.get(number) for number in sorted(_all_legs(trip))),
        fare=trip.fare,
        reason=trip.reason,
        occurred_at=trip.history[-1].at,
        sequence=len(trip.history),
    )
    return (TRIP_REPORT_DUE.new_event(due, key=trip.state, conversation_id=trip.id),)


def _notify_request(trip: Trip, attempt: int = 1) -> Request:
    confirmed = sum(map(is_confirmed, trip.legs.results.values()))
    text = TRIP_NOTICE_TEXTS[trip.state].format(legs=trip.legs.size, confirmed=confirmed, reason=trip.reason)
    notice = NotifyRider(rider_id=trip.rider_id, notice=NOTICES[trip.state], text=text)
    return replace(notify_request(notice, attempt), conversation_id=trip.id)


def _in_own_conversation(leg: BookingTransition) -> BookingTransition:
    """Return the transition of a leg that the trip makes, with its messages in the leg's conversation."""
    return BookingTransition(
        leg.booking,
        tuple(replace(request, conversation_id=leg.booking.id) for request in leg.requests),
        tuple(replace(event, conversation_id=leg.booking.id) for event in leg.events),
    )
