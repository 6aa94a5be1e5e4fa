from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.booking.sql.work import BookingSql
from prebook.booking.store import BookingWork
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.postgres.engine import create_engine
from prebook.postgres.unit_of_work import unit_of_work_factory
from prebook.testing.memory import MemoryDatabase
from tests.booking.memory import MemoryBooking
from tests.databases import Databases

TABLES = ("booking", "trip", "idempotency_record", "token_window", "switch", "inbox", "outbox", "pending_reply")


@pytest.fixture(scope="session")
def booking_url(databases: Databases) -> str:
    return databases.create_for("booking")


@pytest.fixture
async def engine(booking_url: str) -> AsyncIterator[AsyncEngine]:
    """Engine of the service, on empty tables."""
    engine = create_engine("booking", booking_url)
    async with engine.begin() as connection:
        for table in TABLES:
            await connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - names of our own
    yield engine
    await engine.dispose()


@pytest.fixture
def begin_sql(engine: AsyncEngine) -> BeginUnitOfWork[BookingSql]:
    return unit_of_work_factory(engine, BookingSql)


@pytest.fixture(params=["memory", pytest.param("sql", marks=pytest.mark.real)])
def begin(request: pytest.FixtureRequest) -> BeginUnitOfWork[BookingWork]:
    """Units of work on the in-memory store and on PostgreSQL: both meet the same contract."""
    if request.param == "memory":
        return MemoryDatabase(MemoryBooking()).begin
    found: BeginUnitOfWork[BookingWork] = request.getfixturevalue("begin_sql")
    return found
