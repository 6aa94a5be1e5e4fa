"""Whatever a booking hears, in whatever order: legal turns only, and each outcome told once."""

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
from tests.booking.rides import BOOKING, MATCHED, NOW, QUOTED

News = tuple[str, Message | None]
NEWS = st.one_of(
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


def take(booking: Booking, news: News, now: datetime) -> BookingTransition:
    match news:
        case ("fare", (FareQuoted() | FareRefused() | Unavailable()) as answer):
            return process.apply_fare_reply(booking, answer, now)
        case ("driver", (DriverMatched() | NoDriverFound() | Unavailable()) as answer):
            return process.apply_driver_reply(booking, answer, now)
        case (Notice() as name, (RiderNotified() | Unavailable()) as answer):
            return process.apply_notification_reply(booking, answer, name, now)
        case _ if not booking.is_over:
            return process.cancel(booking, now)
    return BookingTransition(booking)


@given(st.lists(st.tuples(NEWS, st.integers(0, 600)), max_size=20))
def test_any_news_in_any_order_makes_legal_turns_and_tells_each_outcome_once(news: list[tuple[News, int]]) -> None:
    booking, now, facts, first_notices = BOOKING, NOW, list[Message](), list[str]()
    for item, seconds in news:
        now += timedelta(seconds=seconds)
        step = take(booking, item, now)
        booking = step.booking
        facts += (fact.body for fact in step.events)
        first_notices += [ask.key for ask in step.requests if ask.key and "." not in ask.key]

    states = [change.state for change in booking.history]
    assert all(after in TRANSITIONS[before] for before, after in pairwise(states))
    outcomes = [state for state in states if state in SETTLED_STATES]
    assert [outcome_in(fact) for fact in facts] == outcomes == first_notices
    assert [change.at for change in booking.history] == sorted(change.at for change in booking.history)
    assert booking.is_settled == (booking.settled_at is not None)


def outcome_in(fact: Message) -> str:
    return fact.ending if isinstance(fact, BookingEnded) else BookingState.CONFIRMED
