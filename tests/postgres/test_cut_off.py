"""Connections that the server has ended while they lay in the pool."""

import asyncio

from sqlalchemy import text

from prebook.postgres.connection import PooledConnection, acquire
from prebook.postgres.engine import create_engine
from tests.conditions import poll_until, wait_until
from tests.databases import Databases, role_url

OWN_PIDS = text("SELECT pid FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()")
END = text("SELECT pg_terminate_backend(:pid)")
IDLE = 4


async def test_nobody_is_given_one(databases: Databases) -> None:
    engine = create_engine("booking", role_url(databases.create_migrated("booking"), "booking"))
    together, had = asyncio.Barrier(IDLE), list[PooledConnection]()

    async def used(one: PooledConnection) -> None:
        await one.execute_without_begin(text("SELECT 1"))
        await together.wait()

    async def opened() -> None:
        async with acquire(engine) as one:
            had.append(one)
            await used(one)

    await asyncio.gather(*(opened() for _ in range(IDLE)))
    async with acquire(engine) as ours:
        for pid in (await ours.execute_without_begin(OWN_PIDS)).scalars():
            await ours.execute_without_begin(END, {"pid": pid})

        async def all_gone() -> bool:
            return not (await ours.execute_without_begin(OWN_PIDS)).scalars()

        await poll_until(all_gone)
    await wait_until(lambda: sum(one.is_closed for one in had) == IDLE - 1)
    await asyncio.gather(*(opened() for _ in range(IDLE)))
    await engine.dispose()
