"""One replica at a time handles the blocked messages of a key, and a replica that died keeps none."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres import blocked_keys
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.connection import acquire
from prebook.postgres.engine import create_engine
from tests.conditions import poll_until
from tests.databases import Databases, dispose_engine

GROUP = "notification.notify_rider"
IS_HELD = text("SELECT bool_and(held_until > now()) FROM key_lease")
LEASES = text("SELECT count(*) FROM key_lease")
EXPIRE_LEASES = text("UPDATE key_lease SET held_until = now() - interval '1 s'")


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_for("notification")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine("notification", url)
    yield engine
    await dispose_engine(engine)


async def _count_leases(engine: AsyncEngine) -> int:
    async with acquire(engine) as connection:
        return int((await connection.execute_without_begin(LEASES)).scalar_one())


async def test_only_one_replica_gets_a_key_and_another_gets_it_afterwards(engine: AsyncEngine) -> None:
    one = SqlBlockedKeys(engine)
    other = SqlBlockedKeys(engine)
    async with one.try_lock(GROUP, "a") as first, other.try_lock(GROUP, "a") as second:
        assert (first, second) == (True, False)
        async with other.try_lock(GROUP, "b") as third:
            assert third, "another key"
    async with other.try_lock(GROUP, "a") as later:
        assert later
    assert await _count_leases(engine) == 0


async def test_of_many_replicas_that_want_a_key_at_once_one_gets_it(engine: AsyncEngine) -> None:
    barrier = asyncio.Barrier(8)

    async def lock() -> bool:
        async with SqlBlockedKeys(engine).try_lock(GROUP, "c") as locked:
            await barrier.wait()  # nobody gives the key back before all have asked for it
            return locked

    assert sum(await asyncio.gather(*(lock() for _ in range(8)))) == 1


async def test_a_lease_is_renewed_while_a_slow_receiver_is_called(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked_keys, "RENEWAL_INTERVAL_S", 0.05)
    async with SqlBlockedKeys(engine).try_lock(GROUP, "slow") as locked:
        assert locked
        async with acquire(engine) as connection:
            await connection.execute_without_begin(EXPIRE_LEASES)

        async def is_renewed() -> bool:
            async with acquire(engine) as connection:
                return bool((await connection.execute_without_begin(IS_HELD)).scalar())

        await poll_until(is_renewed)
    assert await _count_leases(engine) == 0


async def test_the_lease_of_a_dead_replica_ends_by_its_time(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked_keys, "RENEWAL_INTERVAL_S", 3_600.0)
    dead = SqlBlockedKeys(engine).try_lock(GROUP, "d")
    assert await dead.__aenter__()
    heir = SqlBlockedKeys(engine)
    async with heir.try_lock(GROUP, "d") as locked:
        assert not locked
    async with acquire(engine) as connection:
        await connection.execute_without_begin(EXPIRE_LEASES)
    async with heir.try_lock(GROUP, "d") as locked:
        assert locked
        await dead.__aexit__(None, None, None)
        assert await _count_leases(engine) == 1, "the dead replica ends no lease of its heir"
