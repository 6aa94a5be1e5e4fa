from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.operations.sql import OperationsSql
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import unit_of_work_factory
from tests.databases import Databases
from tests.operations.examples import Begin

TABLES = "redelivery, replay, dead_letter_note, dead_letter_version, occurrence, dead_letter"


@pytest.fixture(scope="session")
def operations_url(databases: Databases) -> str:
    return databases.create_for("operations")


@pytest.fixture
async def engine(operations_url: str) -> AsyncIterator[AsyncEngine]:
    """The service's own engine, on empty tables."""
    engine = create_engine("operations", operations_url)
    async with engine.begin() as connection:
        for table in TABLES.split(", "):
            await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - names of tables
    yield engine
    await engine.dispose()


@pytest.fixture
def begin(engine: AsyncEngine) -> Begin:
    return unit_of_work_factory(engine, OperationsSql)
