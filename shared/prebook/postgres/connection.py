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

from prebook.messaging.asyncio_tools import Limit
from prebook.messaging.channel import Unreachable
from prebook.messaging.errors import spelled
from prebook.postgres.pool import idle, limit_of, opened

GIVE_BACK_WITHIN_S = 2.0
COMPILED = 512
DIALECT = dialects.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's dialects have no types
DOUBTFUL = (
    Unreachable,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresConnectionError,
    OSError,
)
"""After these a connection may be at its end before the client hears of it: it is asked before others have it."""
NOTHING: Mapping[str, Any] = {}
T = TypeVar("T")


class Row(asyncpg.Record):
    """Columns by name, too. ``**row`` and ``dict(row)`` work as with a mapping."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Rows(list[Row]):
    """What a statement returned, already here."""

    def first(self) -> Row | None:
        return self[0] if self else None

    def one(self) -> Row:
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


class Undone(Exception):
    """What was to be committed had failed before, unseen, and has been rolled back."""


class Session:
    """One unit's use of a connection."""

    def __init__(self, engine: AsyncEngine, driver: "asyncpg.Connection[Any]") -> None:
        self.engine, self._driver, self._broken_off = engine, driver, False
        self._limit = limit_of(engine)

    @property
    def is_lost(self) -> bool:
        return self._driver.is_closed()

    @property
    def is_at_rest(self) -> bool:
        """Nothing is left to undo."""
        return not (self._broken_off or self._driver.is_closed() or self._driver.is_in_transaction())

    async def execute(self, statement: ClauseElement, values: Mapping[str, Any] = NOTHING) -> Rows:
        """In the transaction, which begins here if it has not yet."""
        if not self._driver.is_in_transaction():
            await self._answered(self._driver.execute("BEGIN"))
        return await self.alone(statement, values)

    async def alone(self, statement: ClauseElement, values: Mapping[str, Any] = NOTHING) -> Rows:
        """In the transaction if there is one; else one of its own, two round trips cheaper. For reads, and for writes
        with which nothing else is to be undone.
        """
        sql, names, given = compiled(statement)
        args = [values[name] if name in values else given[name] for name in names]
        return Rows(await self._answered(self._driver.fetch(sql, *args, record_class=Row)))

    async def commit(self) -> None:
        """Raises Undone."""
        if not self._driver.is_in_transaction():
            return
        if await self._answered(self._driver.execute("COMMIT")) != "COMMIT":
            raise Undone("a statement of this transaction had failed; look for its error before this one")

    async def _answered(self, asked: Awaitable[T]) -> T:
        """The driver's own limit is not for all that it asks the server for a statement's sake."""
        with in_time(self._limit):
            return await asked

    def broken_off(self) -> None:
        """A statement may still be under way: it is seen to be over before anybody else has the connection."""
        self._broken_off = True

    async def rollback(self) -> None:
        """Where the server does not say within a while that it is done, the connection is given up."""
        if self._driver.is_closed() or self.is_at_rest:
            return
        try:
            async with asyncio.timeout(GIVE_BACK_WITHIN_S):
                await self._driver.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            self._driver.terminate()


@contextmanager
def in_time(limit: Limit) -> Iterator[None]:
    """A server that says nothing more is Unreachable: whoever waits for it holds up others."""
    try:
        with limit():
            yield
    except TimeoutError as error:
        raise Unreachable(f"no answer from the database: {spelled(error)}") from error


@lru_cache(COMPILED)
def compiled(statement: ClauseElement) -> tuple[str, tuple[str, ...], Mapping[str, Any]]:
    """SQL, what $1, $2, ... are called, and the values that the statement brings along."""
    made: Any = statement.compile(dialect=DIALECT)
    return made.string, tuple(made.positiontup), dict(made.params)


@asynccontextmanager
async def session(engine: AsyncEngine) -> AsyncIterator[Session]:
    """What is open at the end is rolled back. Whatever keeps us from a connection is Unreachable: down, starting, full,
    refusing us, or our pool used up.
    """
    try:
        pooled = await _live(engine)
    except Exception as error:
        raise Unreachable(f"no connection to the database: {spelled(error)}") from error
    driver: Any = pooled.driver_connection
    ours = Session(engine, driver)
    try:
        yield ours
    except (asyncio.CancelledError, *DOUBTFUL):
        ours.broken_off()
        raise
    finally:
        if ours.is_at_rest and _has_room(engine):  # then nothing waits: no greenlet is needed, and nobody breaks it off
            pooled.close()
        else:
            await asyncio.shield(_given_back(ours, pooled))


def _has_room(engine: AsyncEngine) -> bool:
    """A connection that is given back is kept; one beyond the pool's size would be closed, which takes a while."""
    pool: Any = engine.pool
    room: bool = pool.overflow() <= 0
    return room


async def _live(engine: AsyncEngine) -> PoolProxiedConnection:
    """Whose end the client has heard of while it lay in the pool is replaced: it would fail whoever has it next."""
    while True:
        pooled = idle(engine) or await opened(engine)
        driver: Any = pooled.driver_connection
        if not driver.is_closed():
            return pooled
        await greenlet_spawn(pooled.invalidate)


async def _given_back(ours: Session, pooled: PoolProxiedConnection) -> None:
    await ours.rollback()
    await greenlet_spawn(pooled.invalidate if ours.is_lost else pooled.close)
