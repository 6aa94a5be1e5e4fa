"""Whatever lies in the parking can be told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prebook.messaging.headers import CAUSE_HEADER, REPLAY_ID_HEADER
from prebook.messaging.recoverability.dead_letter import DeadLetter, XDeath
from prebook.operations.dead_letters.failure_group import error_template, group_of
from prebook.operations.dead_letters.record import (
    MAX_ATTEMPTS,
    fingerprint,
    is_expired_request,
    minimal_record,
    record_of,
)
from prebook.operations.dead_letters.recorder import EXPIRED_REQUESTS, DeadLetterRecorder
from tests.operations.parcels import NOW, QUEUE, headers, parcel

ANY_TEXT = st.text(st.characters() | st.sampled_from("\x00\ud800a"), max_size=400)
ANY_TIME = st.none() | st.datetimes(timezones=st.just(UTC))
ANY_DEATH = st.builds(XDeath, ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT, st.integers(0, 10**12), ANY_TIME)
NAMES = st.sampled_from([*headers(), "prebook-x-replay-id", "prebook-x-dead-letter-id", "prebook-x-first-failed-at"])
ANY_PARCEL = st.builds(
    DeadLetter,
    ANY_TEXT,
    st.dictionaries(NAMES | ANY_TEXT, ANY_TEXT, max_size=8),
    st.binary(max_size=50),
    st.lists(ANY_DEATH, max_size=3).map(tuple),
    ANY_TIME,
)


@given(ANY_PARCEL)
def test_anything_can_be_noted_in_columns_of_bounded_text(parcel: DeadLetter) -> None:
    assert is_expired_request(parcel, NOW) in {True, False}
    for note in (record_of(parcel, NOW), minimal_record(parcel, NOW, "why\x00")):
        searched = (
            note.queue,
            note.cause,
            note.error_type,
            note.type,
            note.flow,
            note.message_id,
            note.conversation_id,
        )
        assert all(text.isascii() and len(text) <= 201 for text in searched)
        told = [
            note.queue,
            note.exchange,
            note.routing_key,
            note.cause,
            note.error,
            *note.headers,
            *note.headers.values(),
        ]
        assert not [text for text in told if "\x00" in text]
        assert [text.encode() for text in told]
        assert note.first_failed_at <= note.last_failed_at <= NOW
        assert note.payload == parcel.body
        assert 1 <= note.attempts <= MAX_ATTEMPTS


@given(ANY_PARCEL)
def test_the_same_parking_is_known_again(parcel: DeadLetter) -> None:
    once, again = record_of(parcel, NOW), record_of(parcel, NOW)
    assert (once.fingerprint, once.occurrence_id) == (again.fingerprint, again.occurrence_id)


def test_how_it_travelled_is_no_part_of_what_it_says() -> None:
    first = parcel()
    later = {**first.headers, "prebook-attempt": "2", "x-death": "[]", "prebook-x-cause": "other"}
    assert fingerprint(replace(first, headers=later)) == fingerprint(first)
    for other in (parcel(body=b"{ }"), parcel(queue="pricing.one_way_requests.quote_fare"), parcel(ce_id="other")):
        assert fingerprint(other) != fingerprint(first)


def test_parked_by_its_consumer() -> None:
    note = record_of(
        parcel(prebook_x_first_failed_at=(NOW - timedelta(seconds=11)).isoformat()), NOW + timedelta(seconds=1)
    )
    assert (note.cause, note.error_type, note.attempts) == ("attempts_exhausted", "ProgrammingError", 5)
    assert (note.exchange, note.routing_key, note.queue) == ("prebook.requests", "quote_fare", QUEUE)
    assert (note.message_id, note.conversation_id, note.trace_id) == ("b1.quote_fare", "b1", f"{1:032x}")
    assert note.last_failed_at - note.first_failed_at == timedelta(seconds=11)


def test_dead_lettered_by_the_broker_after_crashes() -> None:
    said = {name: value for name, value in headers().items() if not name.startswith("prebook-x-")}
    died = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)
    crash = XDeath(QUEUE, "prebook.redeliver", QUEUE, "delivery_limit", 1, died)
    first = XDeath("prebook.delay.200", "prebook.requests", "quote_fare", "expired", 2, died - timedelta(seconds=3))
    note = record_of(DeadLetter(QUEUE, said, b"{}", (crash, first), NOW), NOW)
    assert note.cause == "dead_lettered"
    assert "delivery_limit" in note.error
    assert (note.exchange, note.routing_key) == ("prebook.requests", "quote_fare")
    assert note.last_failed_at == died


def expired(**changes: str) -> DeadLetter:
    """A question whose time was up in its queue, as the broker hands it on."""
    said = {name: value for name, value in headers().items() if not name.startswith("prebook-x-")}
    until = {"prebook-kind": "request", "prebook-expires-at": "2020-01-01T00:00:00+00:00"}
    death = XDeath(QUEUE, "prebook.requests", "quote_fare", "expired", 1, NOW)
    return DeadLetter(QUEUE, {**said, **until, **changes}, b"{}", (death,), NOW)


async def test_a_question_that_nobody_waits_for_is_counted_and_not_kept() -> None:
    def begin() -> Any:
        raise AssertionError("nothing is to be written")

    before = EXPIRED_REQUESTS.labels(QUEUE)._value.get()
    await DeadLetterRecorder(begin).record(expired())
    assert EXPIRED_REQUESTS.labels(QUEUE)._value.get() == before + 1


def test_whatever_else_the_broker_sets_aside_is_kept() -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    assert is_expired_request(expired(), NOW)
    kept = [
        expired(**{"prebook-kind": "reply"}),
        expired(**{"prebook-expires-at": later}),
        expired(**{"prebook-expires-at": "soon"}),
        expired(**{CAUSE_HEADER: "attempts_exhausted"}),
        expired(**{REPLAY_ID_HEADER: "r1"}),
        replace(expired(), x_deaths=(XDeath(QUEUE, "", "", "delivery_limit", 1, NOW),)),
        replace(expired(), x_deaths=()),
    ]
    assert [is_expired_request(parcel, NOW) for parcel in kept] == [False] * len(kept)


def test_a_group_is_one_cause_at_one_place_whatever_varies_in_its_words() -> None:
    def group(**changes: str) -> str:
        return group_of(**{"queue": QUEUE, "type_": "t", "cause": "c", "error": "E: no 'b1' in 3 s", **changes})

    assert group() == group(error="E: no 'b2' in 44 s")
    assert group(stack="abc") == group(stack="abc", error="E: something else")
    others = [group(queue="q"), group(type_="u"), group(cause="d"), group(error="F: no 'b1' in 3 s"), group(stack="x")]
    assert len({group(), *others}) == 6


@given(st.text(max_size=60), st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_do_not_part_groups(text: str, one: int, other: int) -> None:
    assert error_template(f"{text} {one} s") == error_template(f"{text} {other} s")
