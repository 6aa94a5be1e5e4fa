"""Stores of blocked messages for the model of ordering: in memory, and on PostgreSQL, each with its own clock."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import asyncpg
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.blocked_keys import BlockedKeys, BlockStatus
from prebook.postgres.blast_radius import BlastRadius
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.connection import ResultRows, acquire
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.message_column import from_column
from tests.messaging.sequenced_receiver import GROUP, MemoryBlockedKeys

SERVICE = "notification"
SNAPSHOT = text("SELECT ordering_key, message_id, status, message FROM blocked ORDER BY seq")
SHIFT = text("UPDATE blocked SET due_at = due_at - make_interval(secs => :seconds)")
DELETE = text("DELETE FROM blocked")
T = TypeVar("T")


@dataclass(frozen=True)
class BlockedMessage:
    """A stored blocked message."""

    key: str
    name: str
    status: BlockStatus
    attempt: int


class OrderingStore(Protocol):
    """The blocked messages of one service."""

    locks_keys: bool
    """Whether ``try_lock`` excludes another replica."""

    def open_view(self) -> BlockedKeys:
        """Return the store as one replica sees it."""
        ...

    def run(self, call: Awaitable[T]) -> T: ...

    def clear(self) -> None: ...

    def move_clock(self, seconds: float) -> None: ...

    async def read(self) -> Sequence[BlockedMessage]:
        """Return the blocked messages in the order of blocking."""
        ...

    async def release(self, key: str) -> None:
        """Stop waiting for the parked messages of a key, as an operator does."""
        ...


class TimedBlockedKeys(MemoryBlockedKeys):
    """MemoryBlockedKeys that heed delays."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._due_at: dict[str, float] = {}

    async def block(self, group: str, envelope: Envelope, status: BlockStatus, *, delay_s: float, error: str) -> None:
        await super().block(group, envelope, status, delay_s=delay_s, error=error)
        self._due_at[envelope.id] = self.now + delay_s

    async def find_next_due(self, group: str, key: str) -> Envelope | None:
        first = await super().find_next_due(group, key)
        return first if first and self._due_at[first.id] <= self.now else None


@dataclass
class MemoryStore:
    runner: asyncio.Runner
    locks_keys: bool = False
    blocked_keys: TimedBlockedKeys = field(default_factory=TimedBlockedKeys)

    def run(self, call: Awaitable[T]) -> T:
        return self.runner.run(_await(call))

    def open_view(self) -> BlockedKeys:
        return self.blocked_keys

    def clear(self) -> None:
        self.blocked_keys = TimedBlockedKeys()

    def move_clock(self, seconds: float) -> None:
        self.blocked_keys.now += seconds

    async def read(self) -> Sequence[BlockedMessage]:
        rows = self.blocked_keys.rows
        return [BlockedMessage(each.conversation_id, each.id, status, each.attempt) for _, each, status in rows]

    async def release(self, key: str) -> None:
        rows = self.blocked_keys.rows
        parked = BlockStatus.PARKED
        self.blocked_keys.rows = [row for row in rows if (row[1].conversation_id, row[2]) != (key, parked)]


@dataclass
class SqlStore:
    runner: asyncio.Runner
    engine: AsyncEngine
    connection: "asyncpg.Connection[asyncpg.Record]"
    locks_keys: bool = True

    def open_view(self) -> BlockedKeys:
        return SqlBlockedKeys(self.engine)

    def run(self, call: Awaitable[T]) -> T:
        return self.runner.run(_await(call))

    def clear(self) -> None:
        self.run(self._execute(DELETE))

    def move_clock(self, seconds: float) -> None:
        self.run(self._execute(SHIFT, seconds=seconds))

    async def read(self) -> Sequence[BlockedMessage]:
        rows = await self._execute(SNAPSHOT)
        return [
            BlockedMessage(row.ordering_key, row.message_id, BlockStatus(row.status), from_column(row.message).attempt)
            for row in rows
        ]

    async def release(self, key: str) -> None:
        await BlastRadius(self.connection, SERVICE, GROUP, 1).unblock(key)

    async def _execute(self, statement: TextClause, **values: Any) -> ResultRows:
        async with acquire(self.engine) as connection:
            return await connection.execute_without_begin(statement, values)


class UnreliableBlockedKeys:
    """BlockedKeys of which one call of the method ``fault`` fails: before its effect, or after it (``is_applied``)."""

    def __init__(self, inner: BlockedKeys) -> None:
        self._inner = inner
        self.fault = ""
        self.is_applied = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name != self.fault:
            return method
        self.fault = ""

        async def fail(*args: Any, **values: Any) -> None:
            if self.is_applied:
                await method(*args, **values)
            raise Unreachable("the connection was lost")

        return fail


@contextmanager
def open_memory_store() -> Iterator[MemoryStore]:
    with asyncio.Runner() as runner:
        yield MemoryStore(runner)


@contextmanager
def open_sql_store(service_url: str) -> Iterator[SqlStore]:
    with asyncio.Runner() as runner:
        engine = create_engine(SERVICE, service_url)
        connection = runner.run(asyncpg.connect(asyncpg_dsn(service_url)))
        try:
            yield SqlStore(runner, engine, connection)
        finally:
            runner.run(connection.close())
            runner.run(engine.dispose())


async def _await(call: Awaitable[T]) -> T:
    return await call
