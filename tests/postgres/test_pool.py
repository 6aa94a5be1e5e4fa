"""A pool that is used up is told, not only felt."""

from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from prebook.messaging.errors import Unreachable
from prebook.postgres import engine as engines
from prebook.postgres.connection import acquire
from prebook.postgres.engine import MAX_OVERFLOW, POOL_SIZE, create_engine
from prebook.postgres.pool import pool_timeouts
from tests.databases import Databases, role_url


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_migrated("pricing")


async def test_waits_for_a_connection_that_were_in_vain_are_counted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "CHECKOUT_TIMEOUT_S", 0.05)
    engine = create_engine("pricing", role_url(url, "pricing"))
    held = [await engine.connect() for _ in range(POOL_SIZE + MAX_OVERFLOW)]
    assert pool_timeouts(engine) == 0
    for _ in range(2):
        with pytest.raises(PoolTimeout):
            await engine.connect()
    assert pool_timeouts(engine) == 2
    for connection in held:
        await connection.close()
    async with engine.connect():
        pass
    assert pool_timeouts(engine) == 2
    await engine.dispose()


async def test_a_connection_that_is_gone_is_replaced_and_its_slot_kept(url: str) -> None:
    """Without a word: a connection that is begun and left, as without a greenlet, is a warning, and that a failure."""
    engine = create_engine("pricing", role_url(url, "pricing"), pool_size=1)
    for _ in range(3):
        async with acquire(engine) as one:
            await one.execute_without_begin(text("SELECT 1"))
        with suppress(Unreachable):
            async with acquire(engine) as one:
                one._driver.terminate()
    await engine.dispose()
