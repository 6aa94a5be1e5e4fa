"""Connections that the server has ended while they lay in the pool."""

import asyncio

from sqlalchemy import text

from prebook.postgres.connection import Session, session
from prebook.postgres.engine import engine_for
from tests.conditions import becomes, eventually
from tests.databases import Databases, role_url

OWN_PIDS = text("SELECT pid FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()")
END = text("SELECT pg_terminate_backend(:pid)")
IDLE = 4


async def test_nobody_is_given_one(databases: Databases) -> None:
    engine = engine_for("booking", role_url(databases.migrated("booking"), "booking"))
    together, had = asyncio.Barrier(IDLE), list[Session]()

    async def used(one: Session) -> None:
        await one.alone(text("SELECT 1"))
        await together.wait()

    async def opened() -> None:
        async with session(engine) as one:
            had.append(one)
            await used(one)

    await asyncio.gather(*(opened() for _ in range(IDLE)))
    async with session(engine) as ours:
        for pid in (await ours.alone(OWN_PIDS)).scalars():
            await ours.alone(END, {"pid": pid})

        async def all_gone() -> bool:
            return not (await ours.alone(OWN_PIDS)).scalars()

        await eventually(all_gone)
    await becomes(lambda: sum(one.is_lost for one in had) == IDLE - 1)
    await asyncio.gather(*(opened() for _ in range(IDLE)))
    await engine.dispose()
