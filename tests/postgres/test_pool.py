"""The connection pool counts timeouts of waits, and replaces closed connections."""

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


async def test_timeouts_of_waits_for_a_connection_are_counted(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "CHECKOUT_TIMEOUT_S", 0.05)
    engine = create_engine("pricing", role_url(url, "pricing"))
    connections = [await engine.connect() for _ in range(POOL_SIZE + MAX_OVERFLOW)]
    assert pool_timeouts(engine) == 0
    for _ in range(2):
        with pytest.raises(PoolTimeout):
            await engine.connect()
    assert pool_timeouts(engine) == 2
    for connection in connections:
        await connection.close()
    async with engine.connect():
        pass
    assert pool_timeouts(engine) == 2
    await engine.dispose()


async def test_a_closed_connection_is_replaced_without_a_leak(url: str) -> None:
    """A leaked connection would cause a warning, which fails the test."""
    engine = create_engine("pricing", role_url(url, "pricing"), pool_size=1)
    for _ in range(3):
        async with acquire(engine) as connection:
            await connection.execute_without_begin(text("SELECT 1"))
        with suppress(Unreachable):
            async with acquire(engine) as connection:
                connection._driver.terminate()
    await engine.dispose()
