"""Migrations up, down and up again, with rows in every table."""

import os
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from prebook.flows import PROCESSES
from prebook.postgres.dsn import asyncpg_dsn
from prebook.runtime import paths
from tests.integration.database_probe import DatabaseProbe
from tests.integration.suite import Suite, run_command

pytestmark = pytest.mark.real
DATABASE = "migrated"
MESSAGING_ROWS = (
    "INSERT INTO {0}.inbox (message_id, flow, conversation_id) VALUES ('m', 'f', 'c')",
    """
    INSERT INTO {0}.outbox (message_id, kind, flow, conversation_id, route, message, not_before)
    VALUES ('m', 'request', 'f', 'c', 'broker', '{{}}', now())""",
    """
    INSERT INTO {0}.pending_reply (request_id, flow, conversation_id, message, due_at)
    VALUES ('m', 'f', 'c', '{{}}', now())""",
    "INSERT INTO {0}.claim_lock DEFAULT VALUES",
    "INSERT INTO {0}.key_lease VALUES ('g', 'c', 'h', now())",
    """
    INSERT INTO {0}.checked_body (id, message_id, kind, flow, body, expires_at)
    VALUES ('r', 'm', 'event', 'f', 'x', now())""",
)
SERVICE_ROWS = (
    *(
        f"""
        INSERT INTO {service}.blocked (group_name, message_id, ordering_key, message, status, due_at, error)
        VALUES ('g', 'm', 'c', '{{}}', 'waiting', now(), 'w')"""  # noqa: S608 - names of our own schemas
        for service in PROCESSES
    ),
    """
    INSERT INTO booking.booking (id, key, rider_id, pickup_lat, pickup_lon, dropoff_lat, dropoff_lon, pickup_at,
        vehicle_class, passengers, plan, state, history)
    VALUES ('b', 'k', 'r', 1, 1, 2, 2, now(), 'xl', 1, '{}', 'requested', '[]')""",
    """
    INSERT INTO booking.idempotency_record (key, rider_id, booking_id, fingerprint, created_at)
    VALUES ('k', 'r', 'b', '', now())""",
    "INSERT INTO booking.token_window (campaign, started_at, tokens_taken) VALUES ('launch', now(), 1)",
    """
    INSERT INTO booking.trip (id, key, rider_id, plan, policy, deadline_s, legs, fingerprint, response, results, state,
        history, due_at)
    VALUES ('t', 'k', 'r', '{}', 'all', 60, 2, '', '', '{}', 'requested', '[]', now())""",
    "INSERT INTO booking.switch (name, value) VALUES ('coupling.quote_fare', 'one_way')",
    "INSERT INTO booking.route (booking_id, revision, geometry) VALUES ('b', 1, '{}')",
    "INSERT INTO fleets.route (booking_id, revision, geometry) VALUES ('b', 1, '{}')",
    "INSERT INTO pricing.discount_grant (booking_id, state) VALUES ('b', 'granted')",
    "INSERT INTO matching.auction (booking_id, closed, late_offers, document) VALUES ('b', false, 0, '{}')",
    "INSERT INTO matching.assignment (booking_id, fleet, driver, slot) VALUES ('b', 'ada', 'd', now())",
    "INSERT INTO notification.notified (booking_id, notice) VALUES ('b', 'confirmed')",
    "INSERT INTO notification.rider_profile (rider_id, tier, home_zone) VALUES ('r', 'gold', '')",
    "INSERT INTO notification.delivery (booking_id, notice, rider_id, text) VALUES ('b', 'confirmed', 'r', 't')",
    """
    INSERT INTO fleets.reservation (fleet, driver, slot, booking_id, expires_at)
    VALUES ('ada', 'd', now(), 'b', now())""",
    """
    INSERT INTO fleets.unreadable_reply (booking_id, fleet, message_id, cause, media_type, body)
    VALUES ('b', 'ada', 'm', 'garbled', 't', 'x')""",
    """
    WITH p AS (
        INSERT INTO operations.dead_letter (fingerprint, queue, exchange, routing_key, cause, error_type, error,
            failure_group, flow, kind, type, message_id, conversation_id, trace_id, attempts, first_failed_at,
            last_failed_at, payload, payload_bytes, headers)
        VALUES ('f', 'q', 'x', 'k', 'c', 'e', 'e', 'd', 'f', 'k', 't', 'm', 'b', 't', 1, now(), now(), '', 0, '{}')
        RETURNING id),
    r AS (
        INSERT INTO operations.replay (id, operator, ineligible, keep_going, force)
        VALUES ('r', 'o', '[]', false, false)),
    v AS (
        INSERT INTO operations.dead_letter_version (dead_letter_id, number, reason, operator, headers, payload)
        SELECT id, 1, 'r', 'o', '{}', '' FROM p),
    n AS (INSERT INTO operations.dead_letter_note (dead_letter_id, operator, text) SELECT id, 'o', 'n' FROM p),
    i AS (
        INSERT INTO operations.redelivery (replay_id, dead_letter_id, position, ordering_key, queue, message_id,
            version, beyond_retention)
        SELECT 'r', id, 1, 'l', 'q', 'm', 1, false FROM p)
    INSERT INTO operations.occurrence (dead_letter_id, occurrence_id, at, cause, error, attempts, replay_id)
    SELECT id, 'e', now(), 'c', 'e', 1, '' FROM p""",
)
COLUMNS = """
    SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = ANY($1) ORDER BY 1, 2, 3"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = ANY($1) ORDER BY 1"
CONSTRAINTS = """
    SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace::regnamespace::text = ANY($1) ORDER BY 1, 2"""


@pytest.fixture
async def url(suite: Suite, database: DatabaseProbe) -> AsyncIterator[str]:
    """Create an empty database on the suite's server, yield its URL, and drop it after the test."""
    await database.connection.execute(f"CREATE DATABASE {DATABASE}")
    yield urlunsplit(urlsplit(suite.state.database_url)._replace(path=f"/{DATABASE}"))
    await database.connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def run_alembic(url: str, *arguments: str) -> None:
    ini = paths.migrations_dir() / "alembic.ini"
    env = {**os.environ, "PREBOOK_DATABASE_URL": url}
    done = run_command([sys.executable, "-m", "alembic", "-c", str(ini), *arguments], env)
    assert done.returncode == 0, done.stderr


async def test_migrations_can_be_reverted_and_repeated_with_data(url: str) -> None:
    run_alembic(url, "upgrade", "heads")
    connection = await asyncpg.connect(asyncpg_dsn(url))
    try:
        database = DatabaseProbe(connection)
        original = await _describe(database)
        for statement in (*(row.format(service) for service in PROCESSES for row in MESSAGING_ROWS), *SERVICE_ROWS):
            await connection.execute(statement)
        assert not [table for table, rows in (await database.count_rows()).items() if not rows], "every table has a row"
        for service in PROCESSES:
            run_alembic(url, "downgrade", f"{service}@base")
        assert await database.count_rows() == {}
        run_alembic(url, "upgrade", "heads")
        assert await _describe(database) == original
        assert set((await database.count_rows()).values()) == {0, 1}, (
            "the campaign has its row, and no other table has any"
        )
        run_alembic(url, "upgrade", "heads")
        assert await _describe(database) == original, "a repeated upgrade changes nothing"
    finally:
        await connection.close()


async def _describe(database: DatabaseProbe) -> list[object]:
    """Return the columns, indexes and constraints of all schemas."""
    return [await database.connection.fetch(query, list(PROCESSES)) for query in (COLUMNS, INDEXES, CONSTRAINTS)]
