"""Transitions of the booking process and of the booking."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from prebook.booking import process
from prebook.booking.domain.booking import IllegalTransition
from prebook.booking.process import BookingTransition
from prebook.contracts.distance import distance_m
from prebook.contracts.events import BookingConfirmed, BookingEnded, BookingEnding
from prebook.contracts.matching import FindDriver, NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.pricing import FareRefused, QuoteFare
from prebook.contracts.ride import BookingState
from prebook.flows import Request
from tests.booking.booking_suite import BOOKING, MATCHED, NOW, QUOTED

PRICED = process.apply_fare_reply(BOOKING, QUOTED, NOW).booking
CONFIRMED = process.apply_driver_reply(PRICED, MATCHED, NOW).booking
AFTER_VALIDITY = QUOTED.valid_until + timedelta(seconds=1)


def event_bodies(transition: BookingTransition) -> tuple[Message, ...]:
    return tuple(event.body for event in transition.events)


def request_bodies(transition: BookingTransition) -> tuple[Message, ...]:
    return tuple(request.body for request in transition.requests)


def test_a_new_booking_requests_its_fare() -> None:
    transition = process.start(BOOKING)

    (request,) = request_bodies(transition)
    assert isinstance(request, QuoteFare)
    assert (request.pickup, request.dropoff, request.passengers) == (BOOKING.ride.pickup, BOOKING.ride.dropoff, 2)


def test_a_quoted_fare_requests_a_driver() -> None:
    transition = process.apply_fare_reply(BOOKING, QUOTED, NOW)

    (request,) = request_bodies(transition)
    assert transition.booking.quote
    assert (transition.booking.state, transition.booking.quote.fare.cents) == (BookingState.PRICED, 2100)
    assert isinstance(request, FindDriver)
    assert transition.events == ()


def test_a_matched_driver_confirms_notifies_the_rider_and_emits_an_event() -> None:
    transition = process.apply_driver_reply(PRICED, MATCHED, NOW)

    assert [change.state for change in transition.booking.history] == ["requested", "priced", "matched", "confirmed"]
    assert event_bodies(transition) == (
        BookingConfirmed(
            booking_id="bk_1",
            fleet="ada",
            driver="grace",
            fare=QUOTED.fare,
            vehicle_class=BOOKING.ride.vehicle_class,
            pickup_at=BOOKING.ride.pickup_at,
            zone="52.5,13.4",
            distance_m=distance_m(BOOKING.ride.pickup, BOOKING.ride.dropoff),
        ),
    )
    (notify,) = transition.requests
    assert isinstance(notify.body, NotifyRider)
    assert (notify.body.notice, notify.key, notify.delay_s) == (Notice.CONFIRMED, "confirmed", 0.0)


@pytest.mark.parametrize(
    ("transition", "ending", "reason"),
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
        (process.apply_driver_reply(PRICED, MATCHED, AFTER_VALIDITY), BookingEnding.EXPIRED, "quote expired"),
        (process.cancel(BOOKING, NOW), BookingEnding.CANCELLED, "cancelled by the rider"),
        (process.cancel(CONFIRMED, NOW), BookingEnding.CANCELLED, "cancelled by the rider"),
    ],
)
def test_every_other_end_notifies_the_rider_and_emits_an_event(
    transition: BookingTransition, ending: BookingEnding, reason: str
) -> None:
    assert (transition.booking.state, transition.booking.reason) == (BookingState(ending), reason)
    assert event_bodies(transition) == (BookingEnded(booking_id="bk_1", ending=ending, reason=reason),)
    (notify,) = transition.requests
    assert isinstance(notify.body, NotifyRider)
    assert notify.body.notice is Notice(ending)


def test_a_quote_is_valid_until_its_last_instant() -> None:
    assert process.apply_driver_reply(PRICED, MATCHED, QUOTED.valid_until).booking.state is BookingState.CONFIRMED


@pytest.mark.parametrize(
    "state", [BookingState.REJECTED, BookingState.EXPIRED, BookingState.FAILED, BookingState.CANCELLED]
)
def test_a_booking_that_is_over_cannot_be_cancelled(state: BookingState) -> None:
    with pytest.raises(IllegalTransition):
        process.cancel(BOOKING.ended(state, "over", NOW), NOW)


def test_a_notification_is_recorded_once_and_changes_no_state() -> None:
    first = process.apply_notification_reply(CONFIRMED, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW)
    again = process.apply_notification_reply(
        first.booking, RiderNotified(notice=Notice.CONFIRMED), "confirmed.2", AFTER_VALIDITY
    )

    assert (first.booking.state, first.booking.notified_at) == (BookingState.CONFIRMED, NOW)
    assert again == BookingTransition(first.booking)


def test_a_cancellation_after_a_notification_is_notified_too() -> None:
    notified = process.apply_notification_reply(
        CONFIRMED, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW
    ).booking
    cancelled = process.cancel(notified, AFTER_VALIDITY).booking
    transition = process.apply_notification_reply(
        cancelled, RiderNotified(notice=Notice.CANCELLED), "cancelled", AFTER_VALIDITY
    )

    assert (cancelled.notified_at, transition.booking.notified_at) == (None, AFTER_VALIDITY)


def test_a_superseded_notice_is_not_repeated() -> None:
    cancelled = process.cancel(CONFIRMED, NOW).booking

    assert process.apply_notification_reply(
        cancelled, Unavailable(reason="deadline"), "confirmed", NOW
    ) == BookingTransition(cancelled)
    assert process.apply_notification_reply(
        cancelled, RiderNotified(notice=Notice.CONFIRMED), "confirmed", NOW
    ) == BookingTransition(cancelled)


def test_failed_notices_are_retried_with_backoff_and_then_noted() -> None:
    booking, key, requests = CONFIRMED, "confirmed", list[Request]()
    while True:
        transition = process.apply_notification_reply(booking, Unavailable(reason="deadline"), key, NOW)
        if not transition.requests:
            break
        requests += transition.requests
        key = transition.requests[0].key

    assert [request.delay_s for request in requests] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert [request.key for request in requests] == [f"confirmed.{n}" for n in range(2, 13)]
    assert (transition.booking.state, transition.booking.reason) == (BookingState.CONFIRMED, "notification_failed")


def test_a_note_is_appended_to_the_reason() -> None:
    failed = process.apply_fare_reply(BOOKING, Unavailable(reason="refused"), NOW).booking

    transition = process.apply_notification_reply(failed, Unavailable(reason="refused"), "failed.12", NOW)

    assert transition.booking.reason == "no fare: refused; notification_failed"


def test_only_a_booking_with_a_driver_has_a_slot() -> None:
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
