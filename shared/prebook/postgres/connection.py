"""A pooled connection whose statements SQLAlchemy compiles and asyncpg runs.

SQLAlchemy's asynchronous layer costs more per statement than the statement itself (decision 0014). A transaction begins
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

from prebook.asyncio_tools import CoarseTimeout
from prebook.messaging.errors import TransactionConflict, Unreachable, error_summary
from prebook.postgres.outages import DATABASE_ERRORS, LOST, outage_of
from prebook.postgres.pool import checkout, checkout_idle, command_timeout_of, outdate_connections, write_health_of
from prebook.postgres.pooler import REFUSED_SETTING, SETTINGS_REFUSED

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
"""After these errors the connection may be dead although the client has not noticed: it is rolled back or closed."""
NO_PARAMETERS: Mapping[str, Any] = {}
T = TypeVar("T")


class ResultRow(asyncpg.Record):
    """A record whose columns are attributes, too. ``**row`` and ``dict(row)`` work as with a mapping."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class ResultRows(list[ResultRow]):
    """The rows of a statement, already fetched."""

    def first(self) -> ResultRow | None:
        """Return the first row, or None if there is none."""
        return self[0] if self else None

    def one(self) -> ResultRow:
        """Return the only row. Raises ValueError unless there is exactly one."""
        (only,) = self
        return only

    def scalar(self) -> Any:
        """Return the first column of the first row, or None if there is no row."""
        return self[0][0] if self else None

    def scalar_one(self) -> Any:
        """Return the first column of the only row. Raises ValueError unless there is exactly one row."""
        return self.one()[0]

    def scalars(self) -> list[Any]:
        """Return the first column of every row."""
        return [row[0] for row in self]

    def all(self) -> Self:
        """Return the rows themselves, as a result of SQLAlchemy does."""
        return self


class CommitRolledBack(Exception):
    """The transaction was rolled back at COMMIT, because one of its statements had failed unnoticed."""


class PooledConnection:
    """A connection for the duration of one unit of work."""

    def __init__(self, engine: AsyncEngine, driver: "asyncpg.Connection[Any]") -> None:
        self.engine = engine
        self._driver = driver
        self._interrupted = False
        self._command_timeout = command_timeout_of(engine)

    @property
    def is_closed(self) -> bool:
        """Whether the driver knows that the connection has ended."""
        return self._driver.is_closed()

    @property
    def server_pid(self) -> int:
        """Process id that the server reported when the connection was opened."""
        return self._driver.get_server_pid()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to roll back."""
        return not (self._interrupted or self._driver.is_closed() or self._driver.is_in_transaction())

    async def execute(self, statement: ClauseElement, values: Mapping[str, Any] = NO_PARAMETERS) -> ResultRows:
        """Run the statement in the transaction, which begins here if it has not begun yet."""
        if not self._driver.is_in_transaction():
            await self._await_server(self._driver.execute("BEGIN"))
        return await self.execute_without_begin(statement, values)

    async def execute_without_begin(
        self, statement: ClauseElement, values: Mapping[str, Any] = NO_PARAMETERS
    ) -> ResultRows:
        """Run the statement in the transaction, if one has begun; otherwise on its own, which saves two round trips.

        For reads, and for writes that need not be rolled back with others.
        """
        sql, names, given = compile_statement(statement)
        args = [values[name] if name in values else given[name] for name in names]
        return ResultRows(await self._await_server(self._driver.fetch(sql, *args, record_class=ResultRow)))

    async def commit(self) -> None:
        """Commit the transaction, if one has begun.

        Raises:
            CommitRolledBack: the server rolled it back instead.
        """
        if not self._driver.is_in_transaction():
            return
        if await self._await_server(self._driver.execute("COMMIT")) != "COMMIT":
            raise CommitRolledBack("a statement of this transaction had failed; look for its error before this one")

    async def _await_server(self, reply: Awaitable[T]) -> T:
        """Limit the wait, and raise Unreachable for an outage of the database.

        The driver's own timeout does not cover all of its requests for one statement.
        """
        try:
            with enforce_timeout(self._command_timeout):
                return await reply
        except DATABASE_ERRORS as error:
            failure = unreachable_of(error, self.engine, is_closed=self._driver.is_closed())
            if failure is None:
                raise
            raise failure from error

    def mark_interrupted(self) -> None:
        """Note that a statement may still be running: ``acquire`` ends it before the connection is reused."""
        self._interrupted = True

    async def rollback(self) -> None:
        """Roll back; terminate the connection if the server does not confirm within ROLLBACK_TIMEOUT_S."""
        if self._driver.is_closed() or self.is_idle:
            return
        try:
            async with asyncio.timeout(ROLLBACK_TIMEOUT_S):
                await self._driver.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            self._driver.terminate()


def unreachable_of(error: Exception, engine: AsyncEngine, *, is_closed: bool = False) -> Unreachable | None:
    """Return the error of the messaging core for an outage of the database; None if the error is none.

    The engine's connections are replaced if the outage outdates them, and its write health notes a refusal.

    Args:
        error: an error of driver or adapter.
        engine: the engine whose connection raised it.
        is_closed: whether the connection has ended, so that the error is an outage whatever its SQLSTATE.
    """
    outage = outage_of(error) or (LOST if is_closed else None)
    if outage is None:
        return None
    if outage.outdates_connections:
        outdate_connections(engine)
    if outage.refuses_writes:
        write_health_of(engine).record_refusal(outage.reason)
    kind = TransactionConflict if outage.is_conflict else Unreachable
    return kind(f"{outage.reason}: {error_summary(error)}")


@contextmanager
def enforce_timeout(timeout: CoarseTimeout) -> Iterator[None]:
    """Raise Unreachable if the server does not reply in time, so that its caller does not block others."""
    try:
        with timeout():
            yield
    except TimeoutError as error:
        raise Unreachable(f"no answer from the database: {error_summary(error)}") from error


@lru_cache(COMPILED_CACHE_SIZE)
def compile_statement(statement: ClauseElement) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    """Return the SQL, the parameter names of $1, $2, ..., and the values that the statement has itself."""
    compiled: Any = statement.compile(dialect=DIALECT)
    return compiled.string, tuple(compiled.positiontup), dict(compiled.params)


@asynccontextmanager
async def acquire(engine: AsyncEngine) -> AsyncIterator[PooledConnection]:
    """Yield a pooled connection. A transaction that is open at the end is rolled back.

    Raises:
        Unreachable: there is no connection: the server is down, starting, full or refuses, or the pool is exhausted.
    """
    try:
        pooled = await _checkout_live(engine)
    except Exception as error:  # raised by driver, adapter, pool or system, which share no narrower class
        hint = f"; {SETTINGS_REFUSED}" if REFUSED_SETTING in str(error) else ""
        raise Unreachable(f"no connection to the database: {error_summary(error)}{hint}") from error
    driver: Any = pooled.driver_connection
    connection = PooledConnection(engine, driver)
    try:
        yield connection
    except (asyncio.CancelledError, *SUSPECT_CONNECTION_ERRORS):
        connection.mark_interrupted()
        raise
    finally:
        # Closing an idle connection does no I/O: it needs no greenlet and cannot be cancelled halfway.
        if connection.is_idle and _has_capacity(engine):
            pooled.close()
        else:
            await asyncio.shield(_check_in(connection, pooled))


def _has_capacity(engine: AsyncEngine) -> bool:
    """Return whether the pool keeps a returned connection. One beyond its size is closed, which does I/O."""
    pool: Any = engine.pool
    has_capacity: bool = pool.overflow() <= 0
    return has_capacity


async def _checkout_live(engine: AsyncEngine) -> PoolProxiedConnection:
    """Check out a connection; one that was closed while it was in the pool is replaced."""
    while True:
        pooled = checkout_idle(engine) or await checkout(engine)
        driver: Any = pooled.driver_connection
        if not driver.is_closed():
            return pooled
        await greenlet_spawn(pooled.invalidate)


async def _check_in(connection: PooledConnection, pooled: PoolProxiedConnection) -> None:
    await connection.rollback()
    await greenlet_spawn(pooled.invalidate if connection.is_closed else pooled.close)
