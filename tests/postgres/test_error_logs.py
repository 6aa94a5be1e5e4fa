"""Logs of database errors: they quote no value of a row or of a parameter."""

import logging as stdlib_logging
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.errors import Unreachable, error_summary
from prebook.postgres.connection import acquire
from prebook.postgres.engine import create_engine
from prebook.runtime import logging
from tests.databases import Databases

RIDER = "canary-rider-7f3a"
TABLE = """
    CREATE TEMP TABLE ride (rider_id text UNIQUE, passengers int NOT NULL CONSTRAINT seats CHECK (passengers > 0),
                            pickup_at timestamptz)"""
INSERT = "INSERT INTO ride VALUES ('{rider}', {passengers}, {pickup_at})"
STATEMENTS = {
    "unique": INSERT.format(rider=RIDER, passengers=1, pickup_at="NULL"),
    "check": INSERT.format(rider=f"{RIDER}-2", passengers=0, pickup_at="NULL"),
    "not null": INSERT.format(rider=f"{RIDER}-2", passengers="NULL", pickup_at="NULL"),
    "not a time": INSERT.format(rider="", passengers=1, pickup_at=f"'{RIDER}'::text::timestamptz"),
    "not a number": f"SELECT '{RIDER}'::text::int",
    "several lines": f"SELECT E'{RIDER}\\n{RIDER}'::text::int",
}


@pytest.fixture
async def engine(databases: Databases) -> AsyncIterator[AsyncEngine]:
    engine = create_engine("booking", databases.create_empty())
    yield engine
    await engine.dispose()


@pytest.fixture(autouse=True)
def configured_logs(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    del capsys  # replaces the standard output, which the configuration keeps
    before = structlog.get_config()
    handlers = stdlib_logging.getLogger().handlers[:]
    logging.configure("booking", "info")
    yield
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    stdlib_logging.getLogger().handlers[:] = handlers


def log_in_every_way(error: Exception) -> None:
    log = structlog.get_logger("test")
    log.warning("summary", error=error_summary(error))
    log.warning("text", error=str(error), cause=error)
    log.error("traceback", exc_info=error)
    stdlib_logging.getLogger("test").error("never retrieved: %r", error, exc_info=error)
    wrapper = Unreachable(error_summary(error))
    wrapper.__cause__ = error
    log.error("wrapped", exc_info=wrapper)
    log.error("group", exc_info=ExceptionGroup("several", [error]))


@pytest.mark.parametrize("case", STATEMENTS)
@pytest.mark.parametrize("driver", ["asyncpg", "sqlalchemy"])
async def test_no_value_of_a_row_is_logged(
    engine: AsyncEngine, capsys: pytest.CaptureFixture[str], driver: str, case: str
) -> None:
    async def run(statement: str) -> None:
        if driver == "asyncpg":
            await connection.execute_without_begin(text(statement))
        else:
            await session.execute(text(statement))

    async with acquire(engine) as connection, engine.connect() as session:
        await run(TABLE)
        await run(STATEMENTS["unique"])
        with pytest.raises(Exception, match=r"\S") as caught:
            await run(STATEMENTS[case])
    log_in_every_way(caught.value)
    lines = capsys.readouterr().out
    assert lines.count("\n") == 6
    assert type(caught.value).__name__ in lines
    assert RIDER not in lines


async def test_a_parameter_of_the_wrong_type_is_not_logged(
    engine: AsyncEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    async with engine.connect() as session:
        with pytest.raises(Exception, match=RIDER) as caught:
            await session.execute(text("SELECT CAST(:number AS int)"), {"number": RIDER})
    log_in_every_way(caught.value)
    assert RIDER not in capsys.readouterr().out


async def test_the_violated_constraint_is_logged(engine: AsyncEngine, capsys: pytest.CaptureFixture[str]) -> None:
    async with acquire(engine) as connection:
        await connection.execute_without_begin(text(TABLE))
        with pytest.raises(Exception, match="check constraint") as caught:
            await connection.execute_without_begin(text(STATEMENTS["check"]))
    structlog.get_logger("test").error("traceback", exc_info=caught.value)
    line = capsys.readouterr().out
    assert "violates check constraint" in line
    assert "seats" in line
    assert "test_error_logs.py" in line, "the traceback names the place"
