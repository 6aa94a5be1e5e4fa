"""A database that swallows what it is told, and says nothing: nobody may wait for it without end."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.errors import Unreachable
from prebook.postgres import connection as sessions
from prebook.postgres import engine as engines
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
from tests.postgres.holes import through_hole


async def test_a_service_whose_database_has_gone_silent_is_not_ready_and_says_so_in_time(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "CHECK_TIMEOUT_S", 0.2)
    monkeypatch.setattr(sessions, "ROLLBACK_TIMEOUT_S", 0.2)
    async with through_hole(databases.create_for("pricing")) as (made, hole), asyncio.timeout(20):
        await made.check()
        hole.open = True
        for _ in range(BACKGROUND_POOL_SIZE + 1):
            with pytest.raises(TimeoutError):
                await made.check()
        hole.mend()
        monkeypatch.setattr(engines, "CHECK_TIMEOUT_S", 10)
        await made.check()


async def _claims(made: Engines) -> None:
    await SqlOutbox(made.background, "a relay").claim(10, lease_s=30.0, full_routes=[])


async def _forgets(made: Engines) -> None:
    await Purger(made.background, common_purges(60.0)).purge_due()


async def _admits(made: Engines) -> None:
    async with unit_of_work_factory(made.messaging, SqlUnitOfWork)() as work:
        await work.record_message(request(id="asked"))


async def _looks_who_lives(made: Engines) -> None:
    await read_live_replicas(made.background, "a relay")


async def _puts_down(made: Engines) -> None:
    await SqlBlockedKeys(made.messaging).find_next_due(GROUP, "a")


async def _holds(made: Engines) -> None:
    async with SqlBlockedKeys(made.messaging).try_lock(GROUP, "a"):
        pass


@pytest.mark.parametrize("does", [_claims, _forgets, _admits, _puts_down, _holds, _looks_who_lives])
async def test_no_statement_is_waited_for_without_end(
    does: Callable[[Engines], Awaitable[None]], databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "COMMAND_TIMEOUT_S", 0.5)
    monkeypatch.setattr(sessions, "ROLLBACK_TIMEOUT_S", 0.2)
    async with through_hole(databases.create_for("pricing")) as (made, hole), asyncio.timeout(15):
        await does(made)
        hole.open = True
        with pytest.raises(Unreachable, match="no answer"):
            await does(made)
        hole.mend()
        await does(made)


async def test_no_first_connection_is_waited_for_without_end(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "COMMAND_TIMEOUT_S", 0.5)
    async with through_hole(databases.create_for("pricing")) as (made, hole), asyncio.timeout(15):
        hole.opens_at = b"pg_catalog.version"
        with pytest.raises(Unreachable, match="no connection"):
            await _claims(made)
        assert hole.open
        hole.mend()
        await _claims(made)


async def test_a_connection_whose_statement_was_broken_off_is_fit_for_the_next(databases: Databases) -> None:
    engine = create_engine("pricing", databases.create_for("pricing"), pool_size=1)
    for _ in range(20):
        ask = asyncio.create_task(_asked(engine))
        await asyncio.sleep(0)
        ask.cancel()
        await asyncio.wait([ask])
    assert await _asked(engine) <= 1
    await engine.dispose()


async def _asked(engine: AsyncEngine) -> int:
    async with acquire(engine) as connection:
        return len(await connection.execute_without_begin(READINESS_CHECK))
