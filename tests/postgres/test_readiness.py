"""The readiness check tells whether the database accepts writes, in plain words, and notices when it does again."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest

from prebook.messaging.errors import Unreachable
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres import engine as engine_module
from prebook.postgres import pool as pools
from prebook.postgres.engine import Engines, create_engines
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.conditions import poll_until
from tests.databases import dispose_engine, role_url
from tests.messaging.examples import request
from tests.postgres.conftest import SERVICE

DISK_FULL = f"""
    CREATE FUNCTION {SERVICE}.disk_full() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER disk_full BEFORE INSERT ON {SERVICE}.inbox FOR EACH ROW EXECUTE FUNCTION {SERVICE}.disk_full();
    CREATE TRIGGER disk_full BEFORE INSERT ON {SERVICE}.outbox FOR EACH ROW EXECUTE FUNCTION {SERVICE}.disk_full()"""
DISK_HAS_SPACE = f"DROP FUNCTION {SERVICE}.disk_full CASCADE"


@pytest.fixture
async def engines(admin_url: str) -> AsyncIterator[Engines]:
    engines = create_engines(SERVICE, role_url(admin_url, SERVICE))
    yield engines
    for engine in engines:
        await dispose_engine(engine)


async def _enqueue(engines: Engines, message_id: str) -> None:
    async with unit_of_work_factory(engines.edge, SqlUnitOfWork)() as work:
        await work.enqueue([OutboxMessage(request(message_id, id=message_id), "amqp", message_id)])


async def _check_is_refused(engines: Engines, reason: str) -> None:
    """The check fails for ``reason`` in plain words, without the text of the database's error."""
    with pytest.raises(Unreachable, match=reason) as caught:
        await engines.check()
    assert not re.search(r"Error|\d{5}|cannot", str(caught.value))


async def test_a_read_only_database_is_not_ready(
    admin: asyncpg.Connection, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions that are open learn of it, as after a failover, and so do new ones."""
    monkeypatch.setattr(pools, "OUTDATE_INTERVAL_S", 0.0)
    await engines.check()
    await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    try:
        await admin.execute("SELECT pg_reload_conf()")
        await poll_until(lambda: _is_refused(engines))
        await _check_is_refused(engines, "the database is read-only and accepts no writes")
    finally:
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await admin.execute("SELECT pg_reload_conf()")

    async def is_ready() -> bool:
        return not await _is_refused(engines)

    await poll_until(is_ready)
    await _enqueue(engines, "writable")


async def test_a_full_disk_is_seen_by_those_who_write_and_makes_the_service_not_ready(
    admin: asyncpg.Connection, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin.execute(DISK_FULL)
    try:
        await engines.check()
        with pytest.raises(Unreachable, match="disk"):
            await _enqueue(engines, "full")
        await _check_is_refused(engines, "the disk of the database is full")
        monkeypatch.setattr(engine_module, "RECENT_REFUSAL_S", -1.0)
        with pytest.raises(Unreachable, match="the disk of the database is full"):
            await engines.check()  # nothing was written since, so the check tries a write itself
    finally:
        await admin.execute(DISK_HAS_SPACE)
    await engines.check()
    inbox_rows = await admin.fetchval(f"SELECT count(*) FROM {SERVICE}.inbox")  # noqa: S608 - a constant
    assert inbox_rows == 0, "the check leaves nothing behind"


async def test_a_committed_write_makes_the_service_ready_again(admin: asyncpg.Connection, engines: Engines) -> None:
    await admin.execute(DISK_FULL)
    try:
        with pytest.raises(Unreachable, match="disk"):
            await _enqueue(engines, "full again")
    finally:
        await admin.execute(DISK_HAS_SPACE)
    with pytest.raises(Unreachable, match="disk"):
        await engines.check()
    await _enqueue(engines, "space")
    await engines.check()


async def test_a_migration_that_holds_the_lock_of_a_table_makes_the_service_not_ready(
    admin: asyncpg.Connection, engines: Engines
) -> None:
    async with admin.transaction():
        await admin.execute(f"LOCK TABLE {SERVICE}.outbox")
        await _check_is_refused(engines, "the database does not answer within 2 s")
    await engines.check()


async def _is_refused(engines: Engines) -> bool:
    try:
        await engines.check()
    except Unreachable:
        return True
    return False
