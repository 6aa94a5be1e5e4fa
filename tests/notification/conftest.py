from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.notification.sql import NotificationSql
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import unit_of_work_factory
from prebook.testing.memory import MemoryDatabase
from tests.databases import Databases
from tests.notification.memory import MemoryNotification


class Begin(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[Any]: ...


@pytest.fixture(scope="session")
def notification_url(databases: Databases) -> str:
    return databases.create_for("notification")


@pytest.fixture
async def engine(notification_url: str) -> AsyncIterator[AsyncEngine]:
    """Engine of the service, on an empty delivery log."""
    engine = create_engine("notification", notification_url)
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM delivery"))
        await connection.execute(text("DELETE FROM notified"))
        await connection.execute(text("DELETE FROM rider_profile"))
    yield engine
    await engine.dispose()


@pytest.fixture
def begin_sql(engine: AsyncEngine) -> Begin:
    return unit_of_work_factory(engine, NotificationSql)


@pytest.fixture(params=["memory", "sql"])
def begin(request: pytest.FixtureRequest) -> Begin:
    """Units of work on the in-memory store and on PostgreSQL: both meet the same contract."""
    if request.param == "memory":
        return MemoryDatabase(MemoryNotification()).begin
    found: Begin = request.getfixturevalue("begin_sql")
    return found
