"""Records of dead letters: any message can be recorded, and failures are grouped."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from prebook.messaging.addresses import QueueName
from prebook.messaging.headers import CAUSE_HEADER, REPLAY_ID_HEADER
from prebook.messaging.recoverability.dead_letter import DeadLetter, XDeath
from prebook.operations.dead_letters.failure_group import error_template, group_of
from prebook.operations.dead_letters.record import (
    MAX_ATTEMPTS,
    DeadLetterRecord,
    fingerprint,
    is_expired_request,
    minimal_record,
    record_of,
)
from prebook.operations.dead_letters.recorder import DeadLetterRecorder
from prebook.topology.model import suite_topology
from prebook.topology.sender_check import accept_any_sender, dead_letter_sender_check
from prebook.topology.values import Queue
from tests.operations.examples import NOW, QUEUE, dead_letter, headers

PLAIN_QUEUE = Queue(QueueName(QUEUE))
ANY_TEXT = st.text(st.characters() | st.sampled_from("\x00\ud800a"), max_size=400)
ANY_TIME = st.none() | st.datetimes(timezones=st.just(UTC))
ANY_X_DEATH = st.builds(XDeath, ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT, st.integers(0, 10**12), ANY_TIME)
NAMES = st.sampled_from([*headers(), "prebook-x-replay-id", "prebook-x-dead-letter-id", "prebook-x-first-failed-at"])
ANY_DEAD_LETTER = st.builds(
    DeadLetter,
    ANY_TEXT,
    st.dictionaries(NAMES | ANY_TEXT, ANY_TEXT, max_size=8),
    st.binary(max_size=50),
    st.lists(ANY_X_DEATH, max_size=3).map(tuple),
    ANY_TIME,
)


@given(ANY_DEAD_LETTER)
def test_any_dead_letter_has_a_record_of_storable_text(letter: DeadLetter) -> None:
    assert is_expired_request(letter, NOW) in {True, False}
    for record in (record_of(letter, NOW), minimal_record(letter, NOW, "why\x00")):
        indexed = (
            record.queue,
            record.cause,
            record.error_type,
            record.type,
            record.flow,
            record.message_id,
            record.conversation_id,
        )
        assert all(text.isascii() and len(text) <= 201 for text in indexed)
        texts = [
            record.queue,
            record.exchange,
            record.routing_key,
            record.cause,
            record.error,
            *record.headers,
            *record.headers.values(),
        ]
        assert not [text for text in texts if "\x00" in text]
        assert [text.encode() for text in texts]
        assert record.first_failed_at <= record.last_failed_at <= NOW
        assert record.payload == letter.body
        assert 1 <= record.attempts <= MAX_ATTEMPTS


@given(ANY_DEAD_LETTER)
def test_two_deliveries_of_one_occurrence_have_the_same_identity(letter: DeadLetter) -> None:
    first = record_of(letter, NOW)
    second = record_of(letter, NOW)
    assert (first.fingerprint, first.occurrence_id) == (second.fingerprint, second.occurrence_id)


def test_delivery_headers_do_not_change_the_fingerprint() -> None:
    first = dead_letter()
    later = {**first.headers, "prebook-attempt": "2", "x-death": "[]", "prebook-x-cause": "other"}
    later["prebook-x-hops"] = "pricing>prebook.delay.200"
    assert fingerprint(replace(first, headers=later)) == fingerprint(first)
    for other in (
        dead_letter(body=b"{ }"),
        dead_letter(queue="pricing.one_way_requests.quote_fare"),
        dead_letter(ce_id="other"),
    ):
        assert fingerprint(other) != fingerprint(first)


def test_a_message_parked_by_its_consumer_is_recorded_from_its_headers() -> None:
    record = record_of(
        dead_letter(prebook_x_first_failed_at=(NOW - timedelta(seconds=11)).isoformat()), NOW + timedelta(seconds=1)
    )
    assert (record.cause, record.error_type, record.attempts) == ("attempts_exhausted", "ProgrammingError", 5)
    assert (record.exchange, record.routing_key, record.queue) == ("prebook.requests", "quote_fare", QUEUE)
    assert (record.message_id, record.conversation_id, record.trace_id) == ("b1.quote_fare", "b1", f"{1:032x}")
    assert record.last_failed_at - record.first_failed_at == timedelta(seconds=11)


def test_a_message_dead_lettered_by_the_broker_is_recorded_from_its_x_deaths() -> None:
    original = {name: value for name, value in headers().items() if not name.startswith("prebook-x-")}
    died_at = datetime(2026, 11, 24, 11, 0, tzinfo=UTC)
    crash = XDeath(QUEUE, "prebook.redeliver", QUEUE, "delivery_limit", 1, died_at)
    first = XDeath("prebook.delay.200", "prebook.requests", "quote_fare", "expired", 2, died_at - timedelta(seconds=3))
    record = record_of(DeadLetter(QUEUE, original, b"{}", (crash, first), NOW), NOW)
    assert record.cause == "delivery_limit"
    assert (record.error, record.attempts) == ("delivery limit: its consumer died 21 times", 21)
    assert (record.exchange, record.routing_key) == ("prebook.requests", "quote_fare")
    assert record.last_failed_at == died_at


def expired(queue: Queue = PLAIN_QUEUE, changes: Mapping[str, str] | None = None) -> DeadLetter:
    """Return a request that expired in ``queue``, as the broker dead-letters it: with its address as routing key."""
    original = {name: value for name, value in headers().items() if not name.startswith("prebook-x-")}
    expiry = {"prebook-kind": "request", "prebook-expires-at": "2020-01-01T00:00:00+00:00"}
    death = XDeath(queue.name, "prebook.requests", "quote_fare", "expired", 1, NOW)
    return DeadLetter(queue.address, {**original, **expiry, **(changes or {})}, b"{}", (death,), NOW)


def count_expired_requests() -> float:
    return REGISTRY.get_sample_value("prebook_requests_expired_in_queue_total", {"queue": QUEUE}) or 0


async def test_a_request_that_expired_in_its_queue_is_counted_and_not_recorded() -> None:
    def begin() -> Any:
        raise AssertionError("no transaction may begin")

    before = count_expired_requests()
    await DeadLetterRecorder(begin, accept_any_sender).record(expired())
    assert count_expired_requests() == before + 1


@pytest.mark.parametrize("queue", suite_topology(()).consumed_queues(), ids=lambda queue: queue.name)
def test_a_request_is_known_as_expired_in_every_queue_and_partition(queue: Queue) -> None:
    assert is_expired_request(expired(queue), NOW)
    assert not is_expired_request(replace(expired(queue), queue="another.queue"), NOW)


def test_every_other_message_that_the_broker_dead_letters_is_recorded() -> None:
    later = (NOW + timedelta(hours=1)).isoformat()
    assert is_expired_request(expired(), NOW)
    recorded = [
        expired(changes={"prebook-kind": "reply"}),
        expired(changes={"prebook-expires-at": later}),
        expired(changes={"prebook-expires-at": "soon"}),
        expired(changes={CAUSE_HEADER: "attempts_exhausted"}),
        expired(changes={REPLAY_ID_HEADER: "r1"}),
        replace(expired(), x_deaths=(XDeath(QUEUE, "", "", "delivery_limit", 1, NOW),)),
        replace(expired(), x_deaths=()),
    ]
    assert [is_expired_request(letter, NOW) for letter in recorded] == [False] * len(recorded)


def test_a_failure_group_is_one_cause_at_one_place_whatever_varies_in_the_text() -> None:
    def group(**changes: str) -> str:
        return group_of(**{"queue": QUEUE, "type_": "t", "cause": "c", "error": "E: no 'b1' in 3 s", **changes})

    assert group() == group(error="E: no 'b2' in 44 s")
    assert group(traceback_digest="abc") == group(traceback_digest="abc", error="E: something else")
    others = [
        group(queue="q"),
        group(type_="u"),
        group(cause="d"),
        group(error="F: no 'b1' in 3 s"),
        group(traceback_digest="x"),
    ]
    assert len({group(), *others}) == 6


@given(st.text(max_size=60), st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_in_the_error_do_not_separate_groups(text: str, one: int, other: int) -> None:
    assert error_template(f"{text} {one} s") == error_template(f"{text} {other} s")


async def record_by(user: str, letter: DeadLetter) -> DeadLetterRecord:
    """Return what a recorder stores of a dead letter that ``user`` published."""
    stored: list[DeadLetterRecord] = []

    @asynccontextmanager
    async def begin() -> AsyncIterator[Any]:
        async def add_dead_letter(record: DeadLetterRecord) -> bool:
            stored.append(record)
            return True

        yield SimpleNamespace(add_dead_letter=add_dead_letter)

    recorder = DeadLetterRecorder(begin, dead_letter_sender_check(suite_topology(())))
    await recorder.record(replace(letter, user=user))
    (record,) = stored
    return record


DIED = (XDeath(QUEUE, "prebook.requests", "quote_fare", "delivery_limit", 1, NOW),)
MARKS: Any = {"prebook_x_replay_id": "r1", "prebook_x_dead_letter_id": "7"}


@pytest.mark.parametrize("user", ["prebook_booking", "prebook_pricing", "prebook_operations"])
async def test_a_dead_letter_of_the_broker_keeps_its_cause_if_its_sender_may_send_it(user: str) -> None:
    record = await record_by(user, replace(dead_letter(**MARKS), x_deaths=DIED))
    assert (record.cause, record.replay_id) == ("attempts_exhausted", "r1")


@pytest.mark.parametrize("user", ["", "prebook_notification", "prebook_archive_reader"])
async def test_a_dead_letter_of_the_broker_from_a_forbidden_sender_is_recorded_as_such(user: str) -> None:
    record = await record_by(user, replace(dead_letter(**MARKS), x_deaths=DIED))
    assert (record.cause, record.error_type, record.replay_id) == ("forbidden_sender", "ForbiddenSender", "")
    forged = replace(dead_letter(prebook_kind="reply"), x_deaths=DIED)
    assert (await record_by("prebook_booking", forged)).cause == "forbidden_sender"


async def test_a_dead_letter_of_a_queue_outside_the_model_keeps_its_cause() -> None:
    died = (XDeath("somebody.elses", "prebook.requests", "quote_fare", "delivery_limit", 21, NOW),)
    letter = replace(dead_letter(), x_deaths=died, queue="somebody.elses")
    assert (await record_by("prebook_notification", letter)).cause == "attempts_exhausted"


async def test_a_dead_letter_of_a_consumer_has_been_checked_by_it() -> None:
    assert (await record_by("", dead_letter())).cause == "attempts_exhausted"
