"""Storage of dead letters in a real PostgreSQL."""

import time
import tracemalloc
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.dead_letters import DeadLetterFilter, DeadLetterSelection, DeadLetterState
from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.dead_letters.api import stream_dead_letters
from prebook.operations.dead_letters.record import minimal_record, record_of
from prebook.operations.dead_letters.store import UnstorableMessage
from tests.conftest import Figure
from tests.operations.examples import NOW, QUEUE, Begin, dead_letter, headers, record_dead_letters

ROWS = 10_000
MEBIBYTE = 2**20
GROUPING_TIMEOUT_S = 1.0
STATES = (DeadLetterState.PARKED, DeadLetterState.REPLAYING)
FIRST = 2**63 - 1
INSERT_REPLAY = """
    INSERT INTO replay (id, operator, ineligible, keep_going, force) VALUES (:id, 'ada', '[]', false, false)"""


async def test_an_occurrence_that_is_delivered_twice_is_recorded_once(begin: Begin) -> None:
    async with begin() as work:
        added = [await work.add_dead_letter(record_of(dead_letter(), NOW)) for _ in range(3)]
        (summary,) = await work.list_dead_letters(STATES, DeadLetterFilter(), FIRST, 10)
    assert added == [True, False, False]
    assert (summary.times_parked, summary.state) == (1, DeadLetterState.PARKED)


async def test_a_message_parked_again_is_one_dead_letter_with_two_occurrences(begin: Begin) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter())
    again = replace(dead_letter(prebook_x_cause="bad_json"), parked_at=NOW.replace(minute=1))
    await record_dead_letters(begin, again, now=NOW.replace(minute=2))
    async with begin() as work:
        found = await work.find_dead_letter(dead_letter_id)
    assert found is not None
    assert (found.summary.times_parked, found.summary.cause) == (2, "bad_json")
    assert [failure.cause for failure in found.failures] == ["attempts_exhausted", "bad_json"]
    assert found.summary.first_failed_at < found.summary.last_failed_at


async def test_a_discarded_message_that_fails_again_is_parked_again(begin: Begin) -> None:
    ids = await record_dead_letters(begin, dead_letter(1), dead_letter(2))
    async with begin() as work:
        changed = await work.discard(
            DeadLetterSelection(where=DeadLetterFilter(cause="attempts_exhausted")), "not wanted", operator="ada"
        )
        assert list(changed.ids) == ids
    later = replace(dead_letter(1), parked_at=NOW.replace(minute=1))
    await record_dead_letters(begin, later, now=NOW.replace(minute=2))
    (new,) = await record_dead_letters(begin, dead_letter(3))
    async with begin() as work:
        summaries = await work.list_dead_letters(STATES, DeadLetterFilter(), FIRST, 10)
    assert [summary.id for summary in summaries] == [new, ids[0]], "a discard does not affect later messages"


async def test_a_discarded_message_can_be_restored(begin: Begin) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter())
    only = DeadLetterSelection(ids=(dead_letter_id,))
    async with begin() as work:
        assert (await work.restore(only, operator="grace")).ids == ()
        assert (await work.discard(only, "why", operator="ada")).ids == (dead_letter_id,)
        assert (await work.discard(only, "again", operator="grace")).ids == ()
        found = await work.find_dead_letter(dead_letter_id)
        assert found is not None
        assert (found.summary.state, found.summary.reason) == (DeadLetterState.DISCARDED, "why")
        assert found.summary.operator == "ada"
        assert (await work.restore(only, operator="grace")).ids == (dead_letter_id,)
        found = await work.find_dead_letter(dead_letter_id)
        assert found is not None
        assert (found.summary.state, found.summary.reason) == (DeadLetterState.PARKED, "")


async def test_an_edit_is_stored_beside_the_original(begin: Begin) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter(body=b"\xff\x00"))
    async with begin() as work:
        assert (
            await work.edit(dead_letter_id, {"ce-id": "other", "traceparent": None}, b"{}", "wrong id", operator="ada")
            == 1
        )
        assert await work.edit(dead_letter_id, {}, b"[]", "wrong body", operator="ada") == 2
        found = await work.find_dead_letter(dead_letter_id)
    assert found is not None
    assert (found.payload.base64, found.headers["ce-id"]) == ("/wA=", "b1.quote_fare")
    first, second = found.versions
    assert (first.payload.text, second.payload.text) == ("{}", "[]")
    assert first.headers["ce-id"] == second.headers["ce-id"] == "other"
    assert "traceparent" not in first.headers
    assert found.summary.version == 2


async def test_unusual_text_and_large_payloads_are_stored(begin: Begin) -> None:
    odd = DeadLetter("q\x00", {"h\x00": "v\x00\ud800", "ce-type": "\u2028" * 3000}, b"\x00" * (1 << 20))
    (dead_letter_id,) = await record_dead_letters(begin, odd)
    async with begin() as work:
        assert await work.add_dead_letter(minimal_record(replace(odd, body=b"other"), NOW, "why"))
        found = await work.find_dead_letter(dead_letter_id)
    assert found is not None
    assert found.summary.payload_bytes == 1 << 20
    assert not found.payload_truncated


async def test_dead_letters_are_listed_by_filter_and_page(begin: Begin) -> None:
    ids = await record_dead_letters(
        begin, *(dead_letter(n, prebook_x_cause="even" if n % 2 == 0 else "odd") for n in range(1, 8))
    )
    async with begin() as work:
        first = await work.list_dead_letters(STATES, DeadLetterFilter(cause="odd"), FIRST, 2)
        rest = await work.list_dead_letters(STATES, DeadLetterFilter(cause="odd"), first[-1].id, 10)
        one = await work.list_dead_letters(
            STATES, DeadLetterFilter(conversation_id="b3", queue=QUEUE, type="prebook.quote_fare.v1"), FIRST, 9
        )
    assert [summary.id for summary in (*first, *rest)] == [i for i, n in zip(ids, range(1, 8), strict=True) if n % 2][
        ::-1
    ]
    assert [summary.message_id for summary in one] == ["b3.quote_fare"]


async def test_an_export_holds_one_payload_in_memory(begin: Begin, engine: AsyncEngine) -> None:
    await _insert_dead_letters(engine, count=50, payload_bytes=MEBIBYTE)
    tracemalloc.start()
    try:
        exported = [len(line) async for line in stream_dead_letters(begin)]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(exported) == 50
    assert min(exported) > MEBIBYTE
    assert peak_bytes < 20 * MEBIBYTE


async def test_ten_thousand_rows_are_grouped_within_a_second(begin: Begin, engine: AsyncEngine, figure: Figure) -> None:
    await _insert_dead_letters(engine, count=ROWS, payload_bytes=500)
    started_at = time.monotonic()
    async with begin() as work:
        found = await work.list_groups(DeadLetterState.PARKED)
    took_s = time.monotonic() - started_at
    figure(f"{ROWS} parked messages in {len(found.groups)} groups within {took_s * 1000:.0f} ms")
    assert (len(found.groups), found.messages) == (20, ROWS)
    assert took_s < GROUPING_TIMEOUT_S


async def test_an_index_keeps_a_message_out_of_a_second_live_replay(begin: Begin, engine: AsyncEngine) -> None:
    (dead_letter_id,) = await record_dead_letters(begin, dead_letter())
    async with begin() as work:
        for replay in ("a", "b"):
            await work._execute(
                text(INSERT_REPLAY),
                id=replay,
            )
    redelivery = text("""
        INSERT INTO redelivery (replay_id, dead_letter_id, position, ordering_key, queue, message_id, version,
            beyond_retention)
        VALUES (:replay, :id, 1, 'l', 'q', 'm', 0, false)""")
    async with engine.begin() as connection:
        await connection.execute(redelivery, {"replay": "a", "id": dead_letter_id})
    with pytest.raises(IntegrityError, match="redelivery_live"):
        async with engine.begin() as connection:
            await connection.execute(redelivery, {"replay": "b", "id": dead_letter_id})


def test_examples_have_different_ids() -> None:
    assert headers(1)["ce-id"] != headers(2)["ce-id"]


async def test_a_record_that_the_database_cannot_store_is_reported_as_unstorable(begin: Begin) -> None:
    """The recorder then stores a minimal record instead; other errors of the database are retried."""
    record = record_of(dead_letter(), NOW)
    for wrong in ({"error": "\x00"}, {"attempts": 10**12}):
        with pytest.raises(UnstorableMessage):
            async with begin() as work:
                await work.add_dead_letter(replace(record, **wrong))


async def test_an_error_of_the_database_itself_is_not_blamed_on_the_message(begin: Begin, engine: AsyncEngine) -> None:
    async with engine.connect() as other:
        await other.execute(text("LOCK TABLE dead_letter"))
        async with begin() as work:
            await work.connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(Unreachable, match="lock"):
                await work.add_dead_letter(record_of(dead_letter(), NOW))
            await work.connection.rollback()


async def _insert_dead_letters(engine: AsyncEngine, *, count: int, payload_bytes: int) -> None:
    """Insert ``count`` dead letters of 20 failure groups, each with a payload of ``payload_bytes``."""
    insert = text("""
        INSERT INTO dead_letter (fingerprint, queue, exchange, routing_key, cause, error_type, error, failure_group,
            flow, kind, type, message_id, conversation_id, trace_id, attempts, first_failed_at, last_failed_at, payload,
            payload_bytes, headers)
        SELECT n::text, 'q' || n % 4, 'x', 'k', 'c' || n % 5, 'E', 'E: ' || n, md5((n % 20)::text), 'f', 'request', 't',
            'm' || n, 'b' || n, '', 5, now() - make_interval(secs => n), now(),
            decode(repeat('ab', :payload_bytes), 'hex'), :payload_bytes, '{}' FROM generate_series(1, :count) n""")
    async with engine.begin() as connection:
        await connection.execute(insert, {"count": count, "payload_bytes": payload_bytes})
