"""A connection out of the engine's pool as its driver has it: statements are SQLAlchemy's, running them is asyncpg's.

Per statement SQLAlchemy's asynchronous layer costs more than the statement itself (decision 0014). A transaction begins
with the first statement that needs one.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, Self, TypeVar

import asyncpg
from sqlalchemy.dialects.postgresql import asyncpg as dialects
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql import ClauseElement
from sqlalchemy.util import greenlet_spawn

from prebook.messaging.asyncio_tools import CoarseTimeout
from prebook.messaging.errors import Unreachable, error_summary
from prebook.postgres.pool import checkout, checkout_idle, command_timeout_of

ROLLBACK_TIMEOUT_S = 2.0
COMPILED_CACHE_SIZE = 512
DIALECT = dialects.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no types
SUSPECT_CONNECTION_ERRORS = (
    Unreachable,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresConnectionError,
    OSError,
)
"""After these a connection may be at its end before the client hears of it: it is asked before others have it."""
NO_PARAMETERS: Mapping[str, Any] = {}
T = TypeVar("T")


class ResultRow(asyncpg.Record):
    """Columns by name, too. ``**row`` and ``dict(row)`` work as with a mapping."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class ResultRows(list[ResultRow]):
    """What a statement returned, already here."""

    def first(self) -> ResultRow | None:
        return self[0] if self else None

    def one(self) -> ResultRow:
        (only,) = self
        return only

    def scalar(self) -> Any:
        return self[0][0] if self else None

    def scalar_one(self) -> Any:
        return self.one()[0]

    def scalars(self) -> list[Any]:
        return [row[0] for row in self]

    def all(self) -> Self:
        return self


class CommitRolledBack(Exception):
    """What was to be committed had failed before, unseen, and has been rolled back."""


class PooledConnection:
    """One unit's use of a connection."""

    def __init__(self, engine: AsyncEngine, driver: "asyncpg.Connection[Any]") -> None:
        self.engine, self._driver, self._interrupted = engine, driver, False
        self._command_timeout = command_timeout_of(engine)

    @property
    def is_closed(self) -> bool:
        return self._driver.is_closed()

    @property
    def is_idle(self) -> bool:
        """Nothing is left to undo."""
        return not (self._interrupted or self._driver.is_closed() or self._driver.is_in_transaction())

    async def execute(self, statement: ClauseElement, values: Mapping[str, Any] = NO_PARAMETERS) -> ResultRows:
        """In the transaction, which begins here if it has not yet."""
        if not self._driver.is_in_transaction():
            await self._await_server(self._driver.execute("BEGIN"))
        return await self.execute_without_begin(statement, values)

    async def execute_without_begin(
        self, statement: ClauseElement, values: Mapping[str, Any] = NO_PARAMETERS
    ) -> ResultRows:
        """In the transaction if there is one; else one of its own, two round trips cheaper. For reads, and for writes
        with which nothing else is to be undone.
        """
        sql, names, given = compile_statement(statement)
        args = [values[name] if name in values else given[name] for name in names]
        return ResultRows(await self._await_server(self._driver.fetch(sql, *args, record_class=ResultRow)))

    async def commit(self) -> None:
        """Raises Undone."""
        if not self._driver.is_in_transaction():
            return
        if await self._await_server(self._driver.execute("COMMIT")) != "COMMIT":
            raise CommitRolledBack("a statement of this transaction had failed; look for its error before this one")

    async def _await_server(self, reply: Awaitable[T]) -> T:
        """The driver's own limit is not for all that it asks the server for a statement's sake."""
        with enforce_timeout(self._command_timeout):
            return await reply

    def mark_interrupted(self) -> None:
        """A statement may still be under way: it is seen to be over before anybody else has the connection."""
        self._interrupted = True

    async def rollback(self) -> None:
        """Where the server does not say within a while that it is done, the connection is given up."""
        if self._driver.is_closed() or self.is_idle:
            return
        try:
            async with asyncio.timeout(ROLLBACK_TIMEOUT_S):
                await self._driver.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            self._driver.terminate()


@contextmanager
def enforce_timeout(timeout: CoarseTimeout) -> Iterator[None]:
    """A server that says nothing more is Unreachable: whoever waits for it holds up others."""
    try:
        with timeout():
            yield
    except TimeoutError as error:
        raise Unreachable(f"no answer from the database: {error_summary(error)}") from error


@lru_cache(COMPILED_CACHE_SIZE)
def compile_statement(statement: ClauseElement) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    """SQL, what $1, $2, ... are called, and the values that the statement brings along."""
    made: Any = statement.compile(dialect=DIALECT)
    return made.string, tuple(made.positiontup), dict(made.params)


@asynccontextmanager
async def acquire(engine: AsyncEngine) -> AsyncIterator[PooledConnection]:
    """What is open at the end is rolled back. Whatever keeps us from a connection is Unreachable: down, starting, full,
    refusing us, or our pool used up.
    """
    try:
        pooled = await _checkout_live(engine)
    except Exception as error:
        raise Unreachable(f"no connection to the database: {error_summary(error)}") from error
    driver: Any = pooled.driver_connection
    ours = PooledConnection(engine, driver)
    try:
        yield ours
    except (asyncio.CancelledError, *SUSPECT_CONNECTION_ERRORS):
        ours.mark_interrupted()
        raise
    finally:
        if ours.is_idle and _has_capacity(
            engine
        ):  # then nothing waits: no greenlet is needed, and nobody breaks it off
            pooled.close()
        else:
            await asyncio.shield(_check_in(ours, pooled))


def _has_capacity(engine: AsyncEngine) -> bool:
    """A connection that is given back is kept; one beyond the pool's size would be closed, which takes a while."""
    pool: Any = engine.pool
    room: bool = pool.overflow() <= 0
    return room


async def _checkout_live(engine: AsyncEngine) -> PoolProxiedConnection:
    """Whose end the client has heard of while it lay in the pool is replaced: it would fail whoever has it next."""
    while True:
        pooled = checkout_idle(engine) or await checkout(engine)
        driver: Any = pooled.driver_connection
        if not driver.is_closed():
            return pooled
        await greenlet_spawn(pooled.invalidate)


async def _check_in(connection: PooledConnection, pooled: PoolProxiedConnection) -> None:
    await connection.rollback()
    await greenlet_spawn(pooled.invalidate if connection.is_closed else pooled.close)
