"""Every access to a black-holed database ends in a timeout, and works again afterwards."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.errors import Unreachable
from prebook.postgres import connection as sessions
from prebook.postgres import engine as engine_module
from prebook.postgres import pool as pools
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.connection import acquire
from prebook.postgres.engine import BACKGROUND_POOL_SIZE, READINESS_CHECK, Engines, create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purger
from prebook.postgres.replicas import read_live_replicas
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.runtime.retention import common_purges
from tests.databases import Databases
from tests.messaging.examples import request
from tests.messaging.sequenced_receiver import GROUP
from tests.postgres.black_hole_proxy import open_engines


async def test_the_readiness_check_of_a_silent_database_fails_in_time(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_engines(databases.create_for("pricing")) as (service_engines, proxy), asyncio.timeout(20):
        await service_engines.check()
        monkeypatch.setattr(engine_module, "CHECK_TIMEOUT_S", 0.2)
        monkeypatch.setattr(sessions, "ROLLBACK_TIMEOUT_S", 0.2)
        proxy.is_dropping = True
        for _ in range(BACKGROUND_POOL_SIZE + 1):
            with pytest.raises(Unreachable, match="does not answer"):
                await service_engines.check()
        proxy.heal()
        monkeypatch.setattr(engine_module, "CHECK_TIMEOUT_S", 10)
        await service_engines.check()


async def _claim(engines: Engines) -> None:
    await SqlOutbox(engines.background, "a relay").claim(10, lease_s=30.0, full_routes=[])


async def _purge(engines: Engines) -> None:
    await Purger(engines.background, common_purges(60.0)).purge_due()


async def _record_message(engines: Engines) -> None:
    async with unit_of_work_factory(engines.messaging, SqlUnitOfWork)() as work:
        await work.record_message(request(id="recorded"))


async def _read_live_replicas(engines: Engines) -> None:
    await read_live_replicas(engines.background, "a relay")


async def _find_blocked_key(engines: Engines) -> None:
    await SqlBlockedKeys(engines.messaging).find_next_due(GROUP, "a")


async def _lock_key(engines: Engines) -> None:
    async with SqlBlockedKeys(engines.messaging).try_lock(GROUP, "a"):
        pass


@pytest.mark.parametrize("access", [_claim, _purge, _record_message, _find_blocked_key, _lock_key, _read_live_replicas])
async def test_every_statement_has_a_timeout(
    access: Callable[[Engines], Awaitable[None]], databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "COMMAND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(sessions, "ROLLBACK_TIMEOUT_S", 0.2)
    async with open_engines(databases.create_for("pricing")) as (service_engines, proxy), asyncio.timeout(15):
        await access(service_engines)
        proxy.is_dropping = True
        with pytest.raises(Unreachable, match="no answer"):
            await access(service_engines)
        proxy.heal()
        await access(service_engines)


async def test_the_first_connection_has_a_timeout(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "COMMAND_TIMEOUT_S", 0.5)
    async with open_engines(databases.create_for("pricing")) as (service_engines, proxy), asyncio.timeout(15):
        proxy.drop_at = b"pg_catalog.version"
        with pytest.raises(Unreachable, match="no connection"):
            await _claim(service_engines)
        assert proxy.is_dropping
        proxy.heal()
        await _claim(service_engines)


async def test_a_connection_is_usable_after_a_cancelled_statement(databases: Databases) -> None:
    engine = create_engine("pricing", databases.create_for("pricing"), pool_size=1)
    for _ in range(20):
        query = asyncio.create_task(_count_rows(engine))
        await asyncio.sleep(0)
        query.cancel()
        await asyncio.wait([query])
    assert await _count_rows(engine) <= 1
    await engine.dispose()


async def _count_rows(engine: AsyncEngine) -> int:
    async with acquire(engine) as connection:
        return len(await connection.execute_without_begin(READINESS_CHECK))
