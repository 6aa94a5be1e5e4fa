"""Pooled connections that the server has closed are not handed out."""

import asyncio

from sqlalchemy import text

from prebook.postgres.connection import PooledConnection, acquire
from prebook.postgres.engine import create_engine
from tests.conditions import poll_until, wait_until
from tests.databases import Databases, role_url

OWN_PIDS = text("SELECT pid FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()")
TERMINATE = text("SELECT pg_terminate_backend(:pid)")
POOLED = 4


async def test_a_closed_connection_is_replaced_at_checkout(databases: Databases) -> None:
    engine = create_engine("booking", role_url(databases.create_migrated("booking"), "booking"))
    barrier = asyncio.Barrier(POOLED)
    connections: list[PooledConnection] = []

    async def use(connection: PooledConnection) -> None:
        await connection.execute_without_begin(text("SELECT 1"))
        await barrier.wait()

    async def acquire_and_use() -> None:
        async with acquire(engine) as connection:
            connections.append(connection)
            await use(connection)

    await asyncio.gather(*(acquire_and_use() for _ in range(POOLED)))
    async with acquire(engine) as remaining:
        for pid in (await remaining.execute_without_begin(OWN_PIDS)).scalars():
            await remaining.execute_without_begin(TERMINATE, {"pid": pid})

        async def all_closed() -> bool:
            return not (await remaining.execute_without_begin(OWN_PIDS)).scalars()

        await poll_until(all_closed)
    await wait_until(lambda: sum(connection.is_closed for connection in connections) == POOLED - 1)
    await asyncio.gather(*(acquire_and_use() for _ in range(POOLED)))
    await engine.dispose()
