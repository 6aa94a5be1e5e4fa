"""Messages in any order: only legal transitions, and one event per outcome."""

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from prebook.booking import process
from prebook.booking.domain.booking import TRANSITIONS, Booking
from prebook.booking.process import BookingTransition
from prebook.contracts.events import BookingEnded
from prebook.contracts.matching import DriverMatched, NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.contracts.notification import Notice, RiderNotified
from prebook.contracts.pricing import FareQuoted, FareRefused
from prebook.contracts.ride import SETTLED_STATES, BookingState
from tests.booking.booking_suite import BOOKING, MATCHED, NOW, QUOTED

Arrival = tuple[str, Message | None]
ARRIVALS = st.one_of(
    st.tuples(st.just("fare"), st.sampled_from([QUOTED, FareRefused(reason="x"), Unavailable(reason="deadline")])),
    st.tuples(
        st.just("driver"),
        st.sampled_from([MATCHED, NoDriverFound(fleets_asked=3, reason="x"), Unavailable(reason="refused")]),
    ),
    st.tuples(
        st.sampled_from(Notice),
        st.sampled_from([RiderNotified(notice=Notice.CONFIRMED), Unavailable(reason="deadline")]),
    ),
    st.tuples(st.just("cancel"), st.none()),
)


def apply(booking: Booking, arrival: Arrival, now: datetime) -> BookingTransition:
    match arrival:
        case ("fare", (FareQuoted() | FareRefused() | Unavailable()) as reply):
            return process.apply_fare_reply(booking, reply, now)
        case ("driver", (DriverMatched() | NoDriverFound() | Unavailable()) as reply):
            return process.apply_driver_reply(booking, reply, now)
        case (Notice() as name, (RiderNotified() | Unavailable()) as reply):
            return process.apply_notification_reply(booking, reply, name, now)
        case _ if not booking.is_over:
            return process.cancel(booking, now)
    return BookingTransition(booking)


@given(st.lists(st.tuples(ARRIVALS, st.integers(0, 600)), max_size=20))
def test_messages_in_any_order_make_legal_transitions_and_emit_each_outcome_once(
    arrivals: list[tuple[Arrival, int]],
) -> None:
    booking, now, events, first_notices = BOOKING, NOW, list[Message](), list[str]()
    for item, seconds in arrivals:
        now += timedelta(seconds=seconds)
        transition = apply(booking, item, now)
        booking = transition.booking
        events += (event.body for event in transition.events)
        first_notices += [request.key for request in transition.requests if request.key and "." not in request.key]

    states = [change.state for change in booking.history]
    assert all(after in TRANSITIONS[before] for before, after in pairwise(states))
    outcomes = [state for state in states if state in SETTLED_STATES]
    assert [outcome_in(event) for event in events] == outcomes == first_notices
    assert [change.at for change in booking.history] == sorted(change.at for change in booking.history)
    assert booking.is_settled == (booking.settled_at is not None)


def outcome_in(event: Message) -> str:
    return event.ending if isinstance(event, BookingEnded) else BookingState.CONFIRMED
