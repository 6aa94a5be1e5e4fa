"""Errors of a database that answers and cannot do its work are outages; errors of a message are its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.errors import TransactionConflict, Unreachable
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres import pool as pools
from prebook.postgres.connection import acquire
from prebook.postgres.engine import POOL_SIZE, create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, translate_errors, unit_of_work_factory
from tests.databases import dispose_engine, role_url
from tests.messaging.examples import request
from tests.postgres.conftest import SERVICE

Raiser = Callable[[AsyncEngine, str], Awaitable[None]]
OUTAGE_STATES = {
    "08006": "connection failure",
    "25006": "read-only after a failover",
    "25P03": "idle in transaction",
    "25P04": "transaction timeout",
    "26000": "the prepared statements of the connection are gone",
    "53000": "resources",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "53400": "configuration limit",
    "55000": "an object is not in the required state",
    "55006": "an object is in use",
    "55P03": "lock timeout",
    "57014": "statement timeout",
    "57P01": "admin shutdown",
    "57P02": "crash shutdown",
    "57P03": "cannot connect now",
    "57P04": "database dropped",
    "58030": "I/O error",
    "3F000": "no such schema",
    "42501": "a privilege is missing",
    "42702": "two columns have the name",
    "42703": "no such column",
    "42725": "two functions fit",
    "42809": "a table has become a view",
    "42883": "no such function",
    "42P01": "no such table",
    "42P10": "no unique index fits ON CONFLICT",
    "428C9": "a column has become a generated one",
    "72000": "snapshot too old",
    "F0000": "wrong configuration",
    "XX001": "a page of a table is corrupted",
    "XX002": "an index is corrupted",
}
CONFLICT_STATES = {"40001": "serialization failure", "40P01": "deadlock"}
OWN_STATES = {
    "22001": "text too long",
    "22P02": "not a number",
    "22003": "out of range",
    "23502": "null",
    "23505": "unique",
    "23514": "check",
    "54000": "row too large",
    "P0001": "raised by a function",
    "XX000": "internal error",
}
RAISE = text("SELECT raise_state(:state)")
CREATE_RAISE_STATE = f"""
    CREATE FUNCTION {SERVICE}.raise_state(state text) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'raised' USING ERRCODE = state; END $$;
    GRANT EXECUTE ON FUNCTION {SERVICE}.raise_state TO prebook_{SERVICE}"""


@pytest.fixture
async def engine(admin_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(SERVICE, role_url(admin_url, SERVICE))
    yield engine
    await dispose_engine(engine)


@pytest.fixture
async def raise_state(admin: asyncpg.Connection) -> AsyncIterator[None]:
    await admin.execute(CREATE_RAISE_STATE)
    yield
    await admin.execute(f"DROP FUNCTION {SERVICE}.raise_state")


async def _raise_in_unit_of_work(engine: AsyncEngine, state: str) -> None:
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.connection.execute(RAISE, {"state": state})


async def _raise_in_statement(engine: AsyncEngine, state: str) -> None:
    async with acquire(engine) as connection:
        await connection.execute_without_begin(RAISE, {"state": state})


async def _raise_in_sqlalchemy(engine: AsyncEngine, state: str) -> None:
    with translate_errors(engine):
        async with engine.connect() as connection:
            await connection.execute(RAISE, {"state": state})


WAYS = [_raise_in_unit_of_work, _raise_in_statement, _raise_in_sqlalchemy]


@pytest.mark.usefixtures("raise_state")
@pytest.mark.parametrize("way", WAYS)
async def test_an_outage_is_unreachable_by_every_way_to_the_database(engine: AsyncEngine, way: Raiser) -> None:
    for state in OUTAGE_STATES:
        with pytest.raises(Unreachable) as caught:
            await way(engine, state)
        assert not isinstance(caught.value, TransactionConflict)


@pytest.mark.usefixtures("raise_state")
@pytest.mark.parametrize("way", WAYS)
async def test_a_lost_race_of_transactions_is_a_conflict(engine: AsyncEngine, way: Raiser) -> None:
    for state in CONFLICT_STATES:
        with pytest.raises(TransactionConflict):
            await way(engine, state)


@pytest.mark.usefixtures("raise_state")
@pytest.mark.parametrize("way", WAYS)
async def test_an_error_of_the_message_stays_its_own(engine: AsyncEngine, way: Raiser) -> None:
    for state in OWN_STATES:
        with pytest.raises((asyncpg.PostgresError, DBAPIError)):
            await way(engine, state)


SESSIONS_ARE_READ_ONLY = f"ALTER ROLE prebook_{SERVICE} SET default_transaction_read_only = on"
SESSIONS_WRITE = f"ALTER ROLE prebook_{SERVICE} RESET default_transaction_read_only"


async def _enqueue(engine: AsyncEngine, message_id: str) -> None:
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue([OutboxMessage(request(message_id, id=message_id), "amqp", message_id)])


async def test_connections_to_a_demoted_server_are_replaced(
    admin: asyncpg.Connection, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions opened before stay read-only, as those to a demoted server do; those opened afterwards may write."""
    monkeypatch.setattr(pools, "OUTDATE_INTERVAL_S", 0.0)
    await admin.execute(SESSIONS_ARE_READ_ONLY)
    barrier = asyncio.Barrier(POOL_SIZE)

    async def open_session() -> None:
        async with acquire(engine) as connection:
            await connection.execute_without_begin(text("SELECT 1"))
            await barrier.wait()

    try:
        await asyncio.gather(*(open_session() for _ in range(POOL_SIZE)))
    finally:
        await admin.execute(SESSIONS_WRITE)
    with pytest.raises(Unreachable, match="read-only"):
        await _enqueue(engine, "demoted")
    await asyncio.gather(*(_enqueue(engine, f"promoted-{number}") for number in range(POOL_SIZE)))


async def test_a_server_that_stays_read_only_is_not_flooded_with_connections(
    admin: asyncpg.Connection, engine: AsyncEngine
) -> None:
    await admin.execute(SESSIONS_ARE_READ_ONLY)
    pids = set()
    try:
        for number in range(50):
            with pytest.raises(Unreachable, match="read-only"):
                await _enqueue(engine, f"refused-{number}")
            async with acquire(engine) as connection:
                pids.add((await connection.execute_without_begin(text("SELECT pg_backend_pid()"))).scalar_one())
    finally:
        await admin.execute(SESSIONS_WRITE)
    assert len(pids) < 25


async def test_a_changed_column_type_costs_no_message_an_attempt_and_spoils_no_connection(
    admin: asyncpg.Connection, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "OUTDATE_INTERVAL_S", 0.0)
    await admin.execute(f"CREATE TABLE {SERVICE}.changing AS SELECT 1 AS value")
    await admin.execute(f"GRANT SELECT ON {SERVICE}.changing TO prebook_{SERVICE}")
    barrier = asyncio.Barrier(POOL_SIZE)
    read = text("SELECT value FROM changing")

    async def prepare() -> None:
        async with acquire(engine) as connection:
            await connection.execute_without_begin(read)
            await barrier.wait()

    await asyncio.gather(*(prepare() for _ in range(POOL_SIZE)))
    await admin.execute(f"ALTER TABLE {SERVICE}.changing ALTER value TYPE text")
    async with acquire(engine) as connection:
        with pytest.raises(Unreachable, match="schema"):
            await connection.execute(read)
    for _ in range(POOL_SIZE):
        async with acquire(engine) as connection:
            assert (await connection.execute(read)).scalar_one() == "1"
    await admin.execute(f"DROP TABLE {SERVICE}.changing")


async def test_a_migration_that_holds_its_lock_is_an_outage(admin: asyncpg.Connection, admin_url: str) -> None:
    engine = create_engine(SERVICE, role_url(admin_url, SERVICE), extra_settings={"lock_timeout": "100ms"})
    async with admin.transaction():
        await admin.execute(f"LOCK TABLE {SERVICE}.outbox")
        with pytest.raises(Unreachable, match="lock"):
            await _enqueue(engine, "locked")
    await _enqueue(engine, "locked")
    await dispose_engine(engine)


async def test_a_statement_that_takes_too_long_is_an_outage(admin: asyncpg.Connection, admin_url: str) -> None:
    engine = create_engine(SERVICE, role_url(admin_url, SERVICE), extra_settings={"statement_timeout": "200ms"})
    async with admin.transaction():
        await admin.execute(f"LOCK TABLE {SERVICE}.outbox")
        with pytest.raises(Unreachable, match="took too long"):
            await _enqueue(engine, "slow")
    await _enqueue(engine, "slow")
    await dispose_engine(engine)


async def test_the_relay_reports_an_outage_as_every_other_access(
    admin: asyncpg.Connection, engine: AsyncEngine
) -> None:
    await admin.execute(SESSIONS_ARE_READ_ONLY)
    try:
        with pytest.raises(Unreachable, match="read-only"):
            await SqlOutbox(engine, "relay").claim(1, lease_s=1.0, full_routes=[])
    finally:
        await admin.execute(SESSIONS_WRITE)


async def test_a_value_that_the_driver_cannot_encode_is_the_fault_of_the_message(engine: AsyncEngine) -> None:
    with pytest.raises(asyncpg.DataError):
        async with acquire(engine) as connection:
            await connection.execute(text("SELECT CAST(:number AS integer)"), {"number": "one"})
