from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import unit_of_work_factory
from prebook.pricing.sql import PricingSql
from prebook.testing.memory import MemoryDatabase
from tests.databases import Databases
from tests.pricing.memory import MemoryPricing


class Begin(Protocol):
    def __call__(self) -> AbstractAsyncContextManager[Any]: ...


@pytest.fixture(scope="session")
def pricing_url(databases: Databases) -> str:
    return databases.create_for("pricing")


@pytest.fixture
async def engine(pricing_url: str) -> AsyncIterator[AsyncEngine]:
    """Engine of the service, on a campaign without grants."""
    engine = create_engine("pricing", pricing_url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE campaign SET granted = 0, quota = 0"))
        await connection.execute(text("DELETE FROM discount_grant"))
    yield engine
    await engine.dispose()


@pytest.fixture
def begin_sql(engine: AsyncEngine) -> Begin:
    return unit_of_work_factory(engine, PricingSql)


@pytest.fixture(params=["memory", "sql"])
def begin(request: pytest.FixtureRequest) -> Begin:
    """Units of work on either store: what is request of one is request of both."""
    if request.param == "memory":
        return MemoryDatabase(MemoryPricing()).begin
    found: Begin = request.getfixturevalue("begin_sql")
    return found
