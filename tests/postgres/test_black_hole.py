"""A database that swallows what it is told, and says nothing: nobody may wait for it without end."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres import engine as engines
from prebook.postgres import session as sessions
from prebook.postgres.engine import CHECK, UPKEEP, engine_for
from prebook.postgres.session import session
from tests.databases import Databases
from tests.postgres.holes import through_hole


async def test_a_service_whose_database_has_gone_silent_is_not_ready_and_says_so_in_time(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "CHECKED_WITHIN_S", 0.2)
    monkeypatch.setattr(sessions, "GIVE_BACK_WITHIN_S", 0.2)
    async with through_hole(databases.of("pricing")) as (made, hole), asyncio.timeout(20):
        await made.check()
        hole.open = True
        for _ in range(UPKEEP + 1):
            with pytest.raises(TimeoutError):
                await made.check()
        hole.mend()
        monkeypatch.setattr(engines, "CHECKED_WITHIN_S", 10)
        await made.check()


async def test_a_connection_whose_statement_was_broken_off_is_fit_for_the_next(databases: Databases) -> None:
    engine = engine_for("pricing", databases.of("pricing"), pool=1)
    for _ in range(20):
        ask = asyncio.create_task(_asked(engine))
        await asyncio.sleep(0)
        ask.cancel()
        await asyncio.wait([ask])
    assert await _asked(engine) <= 1
    await engine.dispose()


async def _asked(engine: AsyncEngine) -> int:
    async with session(engine) as connection:
        return len(await connection.alone(CHECK))
