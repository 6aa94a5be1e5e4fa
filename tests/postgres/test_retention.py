"""Data for deduplication and replay is purged in batches after its retention period, and not before."""

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from prebook.booking import retention as booking
from prebook.notification import retention as notification
from prebook.operations import retention as operations
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.purge import BATCH_ROWS, Purger, PurgeRule
from prebook.pricing import retention as pricing
from prebook.runtime.retention import (
    DAY_S,
    INBOX_DEDUP_S,
    INBOX_RETENTION_S,
    MAX_OUTBOX_DEDUP_S,
    OUTBOX_DEDUP_S,
    common_purges,
)
from tests.databases import Databases, role_url

SERVICES = {
    "booking": booking.PURGES,
    "pricing": pricing.PURGES,
    "notification": notification.PURGES,
    "operations": operations.PURGES,
}
INSERT_OUTBOX_ROWS = """
    INSERT INTO pricing.outbox (message_id, kind, flow, conversation_id, route, message, not_before, state, sent_at,
        cause, abandoned_at)
    SELECT $1 || n, 'event', 'f', 'c', 'broker', '{}', now(), $2, CASE $2 WHEN 'sent' THEN now() - $3::interval END,
        'c', now() - $3::interval
    FROM generate_series(1, $4) n"""
INSERT_DEAD_LETTER = """
    INSERT INTO operations.dead_letter (fingerprint, state, queue, exchange, routing_key, cause, error_type, error,
        failure_group, flow, kind, type, message_id, conversation_id, trace_id, attempts, first_failed_at,
        last_failed_at, payload, payload_bytes, headers)
    VALUES ($1, $2, 'q', 'x', 'k', 'c', 'e', 'e', 'd', 'f', 'k', 't', 'm', 'b', 't', 1, now() - $3::interval,
        now() - $3::interval, '', 0, '{}') RETURNING id"""
INSERT_REPLAY = """
    INSERT INTO operations.replay (id, operator, ineligible, keep_going, force, state, created_at, ended_at)
    VALUES ($1, 'o', '[]', false, false, 'done', now() - $2::interval, now() - $2::interval)"""
INSERT_REDELIVERY = """
    INSERT INTO operations.redelivery (replay_id, dead_letter_id, position, ordering_key, queue, message_id, version,
        beyond_retention, state, settled_at)
    VALUES ($1, $2, 1, 'l', 'q', 'm', 1, false, 'resolved', now() - $3::interval)"""


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_migrated(*SERVICES)


@pytest.fixture
async def database(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(asyncpg_dsn(url))
    yield connection
    await connection.close()


async def purge(url: str, service: str, purges: tuple[PurgeRule, ...]) -> int:
    """Purge with the account of the service; return the number of deleted rows."""
    engine = create_engine(service, role_url(url, service))
    try:
        return await Purger(engine, purges).purge_due()
    finally:
        await engine.dispose()


async def read_remaining(database: "asyncpg.Connection[asyncpg.Record]", query: str) -> list[str]:
    return [row[0] for row in await database.fetch(f"{query} ORDER BY 1")]


async def test_sent_and_closed_outbox_rows_are_purged_and_undecided_ones_are_kept(
    url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    sent_rows = 2 * BATCH_ROWS + 1
    for name, state, age, rows in (
        ("sent before the window ", "sent", timedelta(hours=25), sent_rows),
        ("sent within the window ", "sent", timedelta(hours=23), 1),
        ("expired long ago ", "expired", timedelta(days=9), 1),
        ("expired recently ", "expired", timedelta(days=7), 1),
        ("discarded long ago ", "discarded", timedelta(days=9), 1),
        ("undeliverable for a year ", "undeliverable", timedelta(days=365), 1),
        ("waiting for a year ", "waiting", timedelta(days=365), 1),
    ):
        await database.execute(INSERT_OUTBOX_ROWS, name, state, age, rows)
    assert await purge(url, "pricing", common_purges(OUTBOX_DEDUP_S)) == sent_rows + 2
    kept = await read_remaining(database, "SELECT message_id FROM pricing.outbox")
    assert kept == [
        "expired recently 1",
        "sent within the window 1",
        "undeliverable for a year 1",
        "waiting for a year 1",
    ]


async def test_inbox_rows_are_kept_for_the_deduplication_window(
    url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute("""
        INSERT INTO booking.inbox (message_id, flow, conversation_id, received_at)
        SELECT days || ' days', 'f', 'c', now() - make_interval(days => days) FROM generate_series(6, 9) AS days""")
    assert await purge(url, "booking", common_purges(OUTBOX_DEDUP_S)) == 2
    assert await read_remaining(database, "SELECT message_id FROM booking.inbox") == ["6 days", "7 days"]
    assert INBOX_DEDUP_S < INBOX_RETENTION_S
    assert MAX_OUTBOX_DEDUP_S <= INBOX_DEDUP_S, (
        "the inbox detects a repetition after the deduplication window of the outbox"
    )


async def test_a_granted_discount_is_kept_as_long_as_its_ride_can_be_cancelled(
    url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute("""
        INSERT INTO pricing.discount_grant (booking_id, state, updated_at)
        SELECT state || ' ' || days, state, now() - make_interval(days => days)
        FROM unnest(ARRAY['granted', 'none_left', 'returned', 'ended']) AS state,
            unnest(ARRAY[7, 9, 366, 375]) AS days""")
    assert await purge(url, "pricing", pricing.PURGES) == 10
    kept = await read_remaining(database, "SELECT booking_id FROM pricing.discount_grant")
    assert kept == ["ended 7", "granted 366", "granted 7", "granted 9", "none_left 7", "returned 7"]


async def test_notices_are_kept_longer_than_they_can_be_redelivered(
    url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for table, columns, at in (
        ("notified", "booking_id, notice", "notified_at"),
        ("delivery", "booking_id, notice, rider_id, text", "delivered_at"),
    ):
        other_values = ", 'r', 't'" * (table == "delivery")
        await database.execute(f"""
            INSERT INTO notification.{table} ({columns}, {at})
            SELECT 'b' || days, 'confirmed'{other_values}, now() - make_interval(days => days)
            FROM unnest(ARRAY[8, 29, 31]) AS days""")  # noqa: S608 - names of our own tables
    assert await purge(url, "notification", notification.PURGES) == 2
    assert await read_remaining(database, "SELECT booking_id FROM notification.notified") == ["b29", "b8"]
    assert await read_remaining(database, "SELECT booking_id FROM notification.delivery") == ["b29", "b8"]
    assert notification.RETENTION_S > INBOX_RETENTION_S


async def test_stored_responses_are_kept_for_the_deduplication_window(
    url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute("""
        INSERT INTO booking.idempotency_record (key, rider_id, booking_id, fingerprint, created_at)
        SELECT 'k' || days, 'r', 'b' || days, '', now() - make_interval(days => days)
        FROM unnest(ARRAY[6, 7, 9]) AS days""")
    assert await purge(url, "booking", booking.PURGES) == 1
    assert await read_remaining(database, "SELECT key FROM booking.idempotency_record") == ["k6", "k7"]
    assert booking.RETENTION_S >= INBOX_DEDUP_S


async def test_resolved_dead_letters_are_purged_and_undecided_ones_are_kept(
    url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for replay, age in (("old", timedelta(days=40)), ("new", timedelta(days=2))):
        await database.execute(INSERT_REPLAY, replay, age)
    for name, state, age, replay, settled in (
        ("resolved long ago", "resolved", timedelta(days=41), "old", timedelta(days=39)),
        ("failed long ago, resolved recently", "resolved", timedelta(days=41), "new", timedelta(days=1)),
        ("resolved recently", "resolved", timedelta(days=3), "new", timedelta(days=1)),
        ("parked for a year", "parked", timedelta(days=365), "", timedelta()),
        ("discarded for a year", "discarded", timedelta(days=365), "", timedelta()),
    ):
        dead_letter_id = await database.fetchval(INSERT_DEAD_LETTER, name, state, age)
        if replay:
            await database.execute(INSERT_REDELIVERY, replay, dead_letter_id, settled)
    assert await purge(url, "operations", operations.PURGES) == 2
    assert "resolved long ago" not in (
        kept := await read_remaining(database, "SELECT fingerprint FROM operations.dead_letter")
    )
    assert len(kept) == 4
    assert await read_remaining(database, "SELECT id FROM operations.replay") == ["new"]
    assert operations.RETENTION_S > INBOX_RETENTION_S > INBOX_DEDUP_S > DAY_S
