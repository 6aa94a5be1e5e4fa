"""The process and the booking's life: pure, so every turn of it can be tried."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from prebook.booking import process
from prebook.booking.domain.booking import IllegalTransition
from prebook.booking.process import BookingTransition
from prebook.contracts.events import BookingConfirmed, BookingEnded, BookingEnding
from prebook.contracts.matching import FindDriver, NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.pricing import FareRefused, QuoteFare
from prebook.contracts.ride import BookingState
from prebook.flows import Request
from tests.booking.rides import BOOKING, MATCHED, NOW, QUOTED

PRICED = process.apply_fare_reply(BOOKING, QUOTED, NOW).booking
CONFIRMED = process.apply_driver_reply(PRICED, MATCHED, NOW).booking
LONG_AFTER = QUOTED.valid_until + timedelta(seconds=1)


def told(step: BookingTransition) -> tuple[Message, ...]:
    return tuple(fact.body for fact in step.events)


def asked(step: BookingTransition) -> tuple[Message, ...]:
    return tuple(ask.body for ask in step.requests)


def test_a_request_asks_for_the_fare() -> None:
    step = process.start(BOOKING)

    (wanted,) = asked(step)
    assert isinstance(wanted, QuoteFare)
    assert (wanted.pickup, wanted.dropoff, wanted.passengers) == (BOOKING.ride.pickup, BOOKING.ride.dropoff, 2)


def test_a_fare_leads_to_the_search_for_a_driver() -> None:
    step = process.apply_fare_reply(BOOKING, QUOTED, NOW)

    (wanted,) = asked(step)
    assert step.booking.quote
    assert (step.booking.state, step.booking.quote.fare.cents) == (BookingState.PRICED, 2100)
    assert isinstance(wanted, FindDriver)
    assert step.events == ()


def test_a_driver_confirms_tells_the_rider_and_tells_the_world() -> None:
    step = process.apply_driver_reply(PRICED, MATCHED, NOW)

    assert [change.state for change in step.booking.history] == ["requested", "priced", "matched", "confirmed"]
    assert told(step) == (BookingConfirmed(booking_id="bk_1", fleet="ada", driver="grace", fare=QUOTED.fare),)
    (notify,) = step.requests
    assert isinstance(notify.body, NotifyRider)
    assert (notify.body.notice, notify.key, notify.delay_s) == (Notice.CONFIRMED, "confirmed", 0.0)


@pytest.mark.parametrize(
    ("step", "ending", "reason"),
    [
        (
            process.apply_fare_reply(BOOKING, FareRefused(reason="too far"), NOW),
            BookingEnding.REJECTED,
            "no fare: too far",
        ),
        (
            process.apply_fare_reply(BOOKING, Unavailable(reason="deadline"), NOW),
            BookingEnding.EXPIRED,
            "no fare: deadline",
        ),
        (
            process.apply_fare_reply(BOOKING, Unavailable(reason="refused"), NOW),
            BookingEnding.FAILED,
            "no fare: refused",
        ),
        (
            process.apply_driver_reply(PRICED, NoDriverFound(fleets_asked=3, reason="busy"), NOW),
            BookingEnding.REJECTED,
            "no driver: busy",
        ),
        (
            process.apply_driver_reply(PRICED, Unavailable(reason="deadline"), NOW),
            BookingEnding.EXPIRED,
            "no driver: deadline",
        ),
        (
            process.apply_driver_reply(PRICED, Unavailable(reason="timeout"), NOW),
            BookingEnding.FAILED,
            "no driver: timeout",
        ),
        (process.apply_driver_reply(PRICED, MATCHED, LONG_AFTER), BookingEnding.EXPIRED, "quote expired"),
        (process.cancel(BOOKING, NOW), BookingEnding.CANCELLED, "cancelled by the rider"),
        (process.cancel(CONFIRMED, NOW), BookingEnding.CANCELLED, "cancelled by the rider"),
    ],
)
def test_every_other_end_is_told_to_the_rider_and_the_world(
    step: BookingTransition, ending: BookingEnding, reason: str
) -> None:
    assert (step.booking.state, step.booking.reason) == (BookingState(ending), reason)
    assert told(step) == (BookingEnded(booking_id="bk_1", ending=ending, reason=reason),)
    (notify,) = step.requests
    assert isinstance(notify.body, NotifyRider)
    assert notify.body.notice is Notice(ending)


def test_a_quote_holds_up_to_its_last_moment() -> None:
    assert process.apply_driver_reply(PRICED, MATCHED, QUOTED.valid_until).booking.state is BookingState.CONFIRMED


@pytest.mark.parametrize(
    "state", [BookingState.REJECTED, BookingState.EXPIRED, BookingState.FAILED, BookingState.CANCELLED]
)
def test_what_is_over_cannot_be_cancelled(state: BookingState) -> None:
    with pytest.raises(IllegalTransition):
        process.cancel(BOOKING.ended(state, "over", NOW), NOW)


def test_the_rider_told_is_noted_once_and_changes_no_state() -> None:
    first = process.apply_notification_reply(CONFIRMED, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW)
    again = process.apply_notification_reply(
        first.booking, RiderNotified(notice=Notice.CONFIRMED), "confirmed.2", LONG_AFTER
    )

    assert (first.booking.state, first.booking.notified_at) == (BookingState.CONFIRMED, NOW)
    assert again == BookingTransition(first.booking)


def test_a_rider_who_was_told_of_the_ride_is_told_of_its_end_too() -> None:
    told = process.apply_notification_reply(CONFIRMED, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW).booking
    cancelled = process.cancel(told, LONG_AFTER).booking
    step = process.apply_notification_reply(cancelled, RiderNotified(notice=Notice.CANCELLED), "cancelled", LONG_AFTER)

    assert (cancelled.notified_at, step.booking.notified_at) == (None, LONG_AFTER)


def test_a_notice_that_no_longer_holds_is_not_repeated() -> None:
    cancelled = process.cancel(CONFIRMED, NOW).booking

    assert process.apply_notification_reply(
        cancelled, Unavailable(reason="deadline"), "confirmed", NOW
    ) == BookingTransition(cancelled)
    assert process.apply_notification_reply(
        cancelled, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW
    ) == BookingTransition(cancelled)


def test_a_rider_who_cannot_be_told_is_tried_again_ever_more_slowly_and_then_noted() -> None:
    booking, key, asks = CONFIRMED, "confirmed", list[Request]()
    while True:
        step = process.apply_notification_reply(booking, Unavailable(reason="deadline"), key, NOW)
        if not step.requests:
            break
        asks += step.requests
        key = step.requests[0].key

    assert [ask.delay_s for ask in asks] == [1, 2, 4, 8, 16, 16, 16]
    assert [ask.key for ask in asks] == [f"confirmed.{n}" for n in range(2, 9)]
    assert (step.booking.state, step.booking.reason) == (BookingState.CONFIRMED, "notification_failed")


def test_the_note_stands_beside_the_reason() -> None:
    failed = process.apply_fare_reply(BOOKING, Unavailable(reason="refused"), NOW).booking

    step = process.apply_notification_reply(failed, Unavailable(reason="refused"), "failed.8", NOW)

    assert step.booking.reason == "no fare: refused; notification_failed"


def test_only_a_held_driver_has_a_slot() -> None:
    assert PRICED.slot is None
    assert CONFIRMED.slot == CONFIRMED.ride.pickup_at.replace(minute=0)


TRANSPORT = re.compile(
    r"sync_api|async_api|one_way|request_reply|queue|exchange|http|callback|publish|broker|amqp|rabbit|envelope|channel",
    re.IGNORECASE,
)


def test_the_process_and_the_domain_know_no_transport() -> None:
    package = Path(process.__file__).parent
    files = [package / "process.py", *package.glob("domain/*.py")]

    assert len(files) >= 3
    assert [(f.name, TRANSPORT.findall(f.read_text())) for f in files if TRANSPORT.search(f.read_text())] == []
