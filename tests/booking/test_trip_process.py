"""Laws of the trip process, for every order of outcomes, deadline and cancellation."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.booking import process, trip_process
from prebook.booking.domain.booking import Booking, IllegalTransition
from prebook.booking.domain.trip import Trip
from prebook.booking.trip_process import TripTransition
from prebook.contracts.events import BookingEnded, LegSettled, TripReportDue
from prebook.contracts.message import Unavailable
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.pricing import FareRefused
from prebook.contracts.ride import SETTLED_STATES, BookingState
from prebook.contracts.trip import LegOutcome, TripCompletion, TripPolicy, TripState, TripStateChange
from prebook.patterns.aggregator import Aggregate
from tests.booking.booking_suite import MATCHED, NOW, PLAN, QUOTED, RIDE

TRIP = Trip(
    id="tr_1",
    key="k1",
    rider_id="rosa",
    plan=PLAN,
    policy=TripPolicy.ALL,
    deadline_s=60.0,
    legs=Aggregate(group_id="tr_1", size=3),
    history=(TripStateChange(state=TripState.REQUESTED, at=NOW),),
)
CONFIRMED = LegOutcome(state=BookingState.CONFIRMED, fare=QUOTED.fare)
REJECTED = LegOutcome(state=BookingState.REJECTED, reason="no fare: too far")
DEADLINE = "deadline"
CANCEL = "cancel"


@dataclass
class Booked:
    """A trip and its legs, as booking stores them, with every message that was sent."""

    trip: Trip
    legs: dict[int, Booking]
    in_flight: list[LegSettled] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)

    @classmethod
    def start(cls, policy: TripPolicy, size: int) -> "Booked":
        trip = replace(TRIP, policy=policy, legs=Aggregate(group_id=TRIP.id, size=size))
        started = trip_process.split_trip(trip, [RIDE] * size)
        return cls(trip, {number: leg.booking for number, leg in enumerate(started, 1)})

    def settle_leg(self, number: int, *, is_confirmed: bool) -> None:
        """Let a leg get its outcome from its providers; its event is under way afterwards."""
        leg = self.legs[number]
        if is_confirmed:
            priced = process.apply_fare_reply(leg, QUOTED, NOW)
            transition = process.apply_driver_reply(priced.booking, MATCHED, NOW)
        else:
            transition = process.apply_fare_reply(leg, FareRefused(reason="too far"), NOW)
        self.legs[number] = transition.booking
        self._send(transition.events)
        assert transition.requests == (), "a leg notifies nobody"

    def deliver(self, event: LegSettled) -> None:
        self._apply(trip_process.settle_leg(self.trip, event.leg, event.outcome, NOW))

    def expire(self) -> None:
        self._apply(trip_process.expire(self.trip, NOW))

    def cancel(self) -> None:
        if not self.trip.is_over:
            self._apply(trip_process.cancel_trip(self.trip, NOW))

    def _apply(self, transition: TripTransition) -> None:
        self.trip = transition.trip
        self.messages += [request.body for request in transition.requests]
        self._send(transition.events)
        for ended in trip_process.end_legs(list(self.legs.values()), transition, NOW):
            leg = ended.booking.leg
            assert leg
            self.legs[leg.number] = ended.booking
            self._send(ended.events)

    def _send(self, events: tuple[Any, ...]) -> None:
        for event in events:
            if isinstance(event.body, LegSettled):
                assert event.conversation_id == TRIP.id
                self.in_flight.append(event.body)
            self.messages.append(event.body)


@st.composite
def histories(draw: st.DrawFn) -> tuple[TripPolicy, int, list[Any]]:
    """Policy, number of legs, and steps: outcomes of legs (number, whether confirmed), deliveries, deadline, cancel."""
    size = draw(st.integers(2, 8))
    outcomes = [(number, draw(st.booleans())) for number in range(1, size + 1)]
    deliveries: list[Any] = draw(st.lists(st.floats(0, 0.999), max_size=3 * size))
    ends: list[Any] = draw(st.lists(st.sampled_from([DEADLINE, CANCEL]), max_size=2))
    return draw(st.sampled_from(TripPolicy)), size, draw(st.permutations([*outcomes, *deliveries, *ends]))


def run(policy: TripPolicy, size: int, steps: list[Any]) -> Booked:
    """Run the steps; a number delivers one of the events that are under way, which may be delivered again."""
    booked = Booked.start(policy, size)
    for step in steps:
        if step == DEADLINE:
            booked.expire()
        elif step == CANCEL:
            booked.cancel()
        elif isinstance(step, tuple):
            booked.settle_leg(step[0], is_confirmed=step[1])
        elif booked.in_flight:
            booked.deliver(booked.in_flight[int(step * len(booked.in_flight))])
    for event in list(booked.in_flight):
        booked.deliver(event)
    return booked


@given(histories())
def test_every_leg_has_an_outcome_that_fits_its_trip(history: tuple[TripPolicy, int, list[Any]]) -> None:
    booked = run(*history)
    states = [leg.state for leg in booked.legs.values()]
    confirmed = states.count(BookingState.CONFIRMED)

    assert len(states) == booked.trip.legs.size
    assert set(states) <= SETTLED_STATES
    match booked.trip.state:
        case TripState.CONFIRMED:
            assert confirmed == len(states)
        case TripState.PARTLY_CONFIRMED:
            assert 0 < confirmed < len(states)
            assert booked.trip.policy is TripPolicy.PARTIAL
        case _:
            assert confirmed == 0


@given(histories())
def test_a_trip_is_completed_once_and_its_rider_is_notified_of_each_outcome_once(
    history: tuple[TripPolicy, int, list[Any]],
) -> None:
    booked = run(*history)
    outcomes = [change.state for change in booked.trip.history[1:]]
    notices = [message for message in booked.messages if isinstance(message, NotifyRider)]

    assert booked.trip.is_settled
    assert booked.trip.legs.completed_by is not None
    assert len(outcomes) == 1 or outcomes[1:] == [TripState.CANCELLED]
    assert [notice.notice for notice in notices] == [trip_process.NOTICES[state] for state in outcomes]


@given(histories())
def test_every_leg_that_does_not_stay_a_ride_is_released_once(history: tuple[TripPolicy, int, list[Any]]) -> None:
    booked = run(*history)
    released = [message.booking_id for message in booked.messages if isinstance(message, BookingEnded)]
    rides = {leg.id for leg in booked.legs.values() if leg.state is BookingState.CONFIRMED}

    assert sorted(released) == sorted({leg.id for leg in booked.legs.values()} - rides)


def test_the_deadline_keeps_the_confirmed_legs_of_a_partial_trip_only() -> None:
    booked = Booked.start(TripPolicy.PARTIAL, 3)
    booked.settle_leg(1, is_confirmed=True)
    booked.deliver(booked.in_flight[0])
    booked.settle_leg(2, is_confirmed=True)  # its event is still under way, and so late
    booked.expire()
    booked.deliver(booked.in_flight[1])

    assert (booked.trip.state, booked.trip.legs.completed_by) == (TripState.PARTLY_CONFIRMED, TripCompletion.DEADLINE)
    assert [leg.state for leg in booked.legs.values()] == ["confirmed", "cancelled", "cancelled"]
    assert booked.trip.fare == QUOTED.fare
    assert booked.trip.reason == "; ".join(f"leg {n}: no outcome by the deadline of the trip" for n in (2, 3))


def test_messages_of_legs_are_in_their_own_conversations_and_those_of_the_trip_in_its_own() -> None:
    started = trip_process.split_trip(TRIP, [RIDE] * 3)
    transition = trip_process.cancel_trip(replace(TRIP, report_url="https://hooks.example.com/x"), NOW)
    ended = trip_process.end_legs([leg.booking for leg in started], transition, NOW)

    for number, leg in enumerate(started, 1):
        assert leg.booking.id == f"bk_1-{number}"
        assert {request.conversation_id for request in leg.requests} == {leg.booking.id}
    assert [event.conversation_id for leg in ended for event in leg.events] == [leg.booking.id for leg in ended]
    assert [request.conversation_id for request in transition.requests] == [TRIP.id]
    assert [event.conversation_id for event in transition.events] == [TRIP.id]
    (report,) = (event.body for event in transition.events)
    assert isinstance(report, TripReportDue)
    assert (report.outcome, report.legs, report.sequence) == (TripState.CANCELLED, (None, None, None), 2)


@pytest.mark.parametrize("state", [TripState.REJECTED, TripState.EXPIRED, TripState.CANCELLED])
def test_a_trip_that_is_over_cannot_be_cancelled(state: TripState) -> None:
    over = TRIP.ended(state, None, NOW)
    with pytest.raises(IllegalTransition):
        trip_process.cancel_trip(over, NOW)


def test_a_failed_notice_is_requested_again_until_it_is_delivered_or_superseded() -> None:
    confirmed = TRIP.ended(TripState.PARTLY_CONFIRMED, "leg 1: no fare", NOW)
    (second,) = trip_process.apply_notification_reply(
        confirmed, Unavailable(reason="deadline"), "confirmed", NOW
    ).requests
    notified = trip_process.apply_notification_reply(
        confirmed, RiderNotified(notice=Notice.CONFIRMED), "confirmed.2", NOW + timedelta(seconds=1)
    ).trip
    cancelled = trip_process.cancel_trip(confirmed, NOW).trip
    superseded = trip_process.apply_notification_reply(
        cancelled, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW
    )
    gave_up = trip_process.apply_notification_reply(confirmed, Unavailable(reason="deadline"), "confirmed.12", NOW)

    assert (second.key, second.delay_s, second.conversation_id) == ("confirmed.2", 1.0, TRIP.id)
    assert notified.notified_at == NOW + timedelta(seconds=1)
    assert superseded.trip is cancelled
    assert gave_up.trip.reason == "leg 1: no fare; notification_failed"


def broken_laws() -> set[str]:
    """Names of the laws above that a hypothesis run finds broken."""
    laws = {
        "fitting legs": test_every_leg_has_an_outcome_that_fits_its_trip,
        "completed once": test_a_trip_is_completed_once_and_its_rider_is_notified_of_each_outcome_once,
    }
    return {name for name, law in laws.items() if not _holds(law)}


def _holds(law: Callable[[], None]) -> bool:
    try:
        law()
    except AssertionError:
        return False
    return True


def test_an_aggregator_that_forgets_to_compensate_breaks_the_law_of_the_legs_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trip_process, "end_legs", lambda *_: [])
    assert broken_laws() == {"fitting legs"}


def test_an_aggregator_that_tells_an_outcome_twice_breaks_the_law_of_one_completion_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = trip_process._end
    monkeypatch.setattr(trip_process, "_end", lambda *a: replace(end(*a), requests=end(*a).requests * 2))
    assert broken_laws() == {"completed once"}
