"""Outboxes for the model of the relay: in memory, and on PostgreSQL. Only ``move_clock`` moves their clock."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import asyncpg
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.store import ABANDONED_STATES, Outbox
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.connection import ResultRows, acquire
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.outbox_admin import OutboxAdmin
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.testing.memory import MemoryDatabase
from tests.messaging.examples import NOW

SERVICE = "notification"
SNAPSHOT = text("""
    SELECT message_id, seq, state, failures, refusals, coalesce(claimed_by, '') AS owner,
        coalesce(claimed_until >= clock_timestamp(), false) AS is_leased
    FROM outbox ORDER BY seq""")
TIMES = "created_at = created_at - {0}, not_before = not_before - {0}, claimed_until = claimed_until - {0}"
SHIFT = text(f"UPDATE outbox SET {TIMES.format('make_interval(secs => :seconds)')}")  # noqa: S608 - a constant
SHIFT_SOME = text(f"{SHIFT.text} WHERE message_id = ANY (CAST(:names AS text[]))")
T = TypeVar("T")


class NotCommitted(Exception):
    """Ends a unit of work, so that it rolls back."""


@dataclass(frozen=True)
class StoredRow:
    """A row as the outbox stores it. ``owner``: the relay that has claimed it last."""

    seq: int
    state: str
    failures: int
    refusals: int
    owner: str
    is_leased: bool


class OpenWrite(Protocol):
    """A transaction that has written its rows and has not ended."""

    handoff: Handoff

    def end(self, *, commit: bool) -> None: ...


class OutboxStore(Protocol):
    """One outbox, seen by several relays and writers."""

    keeps_writes_open: bool
    """Whether other transactions can run while a write is open."""

    def run(self, call: Awaitable[T]) -> T: ...

    def clear(self) -> None: ...

    def relay(self, name: str) -> Outbox: ...

    def move_clock(self, seconds: float) -> None: ...

    def write(self, messages: Sequence[OutboxMessage], handoff: Handoff) -> OpenWrite: ...

    def read(self) -> Mapping[str, StoredRow]:
        """Return the committed rows by message id."""
        ...

    def resend(self, seq: int) -> None: ...


@dataclass
class MemoryStore:
    """The in-memory database. Its transactions run one after the other, so a write ends before anything else runs."""

    runner: asyncio.Runner
    keeps_writes_open: bool = False
    now: datetime = NOW
    database: MemoryDatabase = field(init=False)

    def __post_init__(self) -> None:
        self.clear()

    def run(self, call: Awaitable[T]) -> T:
        return self.runner.run(_await(call))

    def clear(self) -> None:
        self.now = NOW
        self.database = MemoryDatabase(None, lambda: self.now)

    def relay(self, name: str) -> Outbox:
        self.database.owner = name
        return self.database

    def move_clock(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def write(self, messages: Sequence[OutboxMessage], handoff: Handoff) -> "MemoryWrite":
        return MemoryWrite(self, messages, handoff)

    def read(self) -> Mapping[str, StoredRow]:
        return {
            name: StoredRow(
                row.seq,
                row.state,
                row.failures,
                row.refusals,
                row.claimed_by,
                row.claimed_until is not None and row.claimed_until >= self.now,
            )
            for name, row in self.database.tables.outbox.items()
        }

    def resend(self, seq: int) -> None:
        raise NotImplementedError("only operators resend, and they work on the database")


@dataclass
class MemoryWrite:
    store: MemoryStore
    messages: Sequence[OutboxMessage]
    handoff: Handoff

    def end(self, *, commit: bool) -> None:
        self.store.database.hand_off = lambda _: nullcontext(self.handoff)
        self.store.run(self._write(commit=commit))

    async def _write(self, *, commit: bool) -> None:
        with suppress(NotCommitted):
            async with self.store.database.begin() as work:
                await work.enqueue(self.messages)
                _roll_back_unless(commit=commit)


@dataclass
class SqlStore:
    """An outbox on PostgreSQL. Its clock moves by moving all stored times the other way."""

    runner: asyncio.Runner
    engine: AsyncEngine
    admin: "asyncpg.Connection[asyncpg.Record]"
    keeps_writes_open: bool = True
    open_writes: list["SqlWrite"] = field(default_factory=list)

    def run(self, call: Awaitable[T]) -> T:
        return self.runner.run(_await(call))

    def clear(self) -> None:
        for write in tuple(self.open_writes):
            write.end(commit=False)
        self.run(self.admin.execute(f"TRUNCATE {SERVICE}.outbox"))

    def relay(self, name: str) -> Outbox:
        return SqlOutbox(self.engine, name)

    def move_clock(self, seconds: float) -> None:
        self.run(_execute(self.engine, SHIFT, seconds=seconds))
        for write in self.open_writes:
            write.move_clock(seconds)

    def write(self, messages: Sequence[OutboxMessage], handoff: Handoff) -> "SqlWrite":
        write = SqlWrite(self, [message.envelope.id for message in messages], handoff)
        self.run(write.begin(messages))
        self.open_writes.append(write)
        return write

    def read(self) -> Mapping[str, StoredRow]:
        rows = self.run(_execute(self.engine, SNAPSHOT))
        return {
            row.message_id: StoredRow(row.seq, row.state, row.failures, row.refusals, row.owner, row.is_leased)
            for row in rows
        }

    def resend(self, seq: int) -> None:
        self.run(self._resend(seq))

    async def _resend(self, seq: int) -> None:
        admin = OutboxAdmin(self.admin, SERVICE)
        rows = await admin.list_rows(ABANDONED_STATES, {}, None)
        assert await admin.resend([row for row in rows if row.id == seq], ignore_expiry=True) == [seq]


@dataclass
class SqlWrite:
    store: SqlStore
    names: Sequence[str]
    handoff: Handoff
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    work: SqlUnitOfWork = field(init=False)

    async def begin(self, messages: Sequence[OutboxMessage]) -> None:
        self.work = await self.stack.enter_async_context(unit_of_work_factory(self.store.engine, SqlUnitOfWork)())
        await self.work.connection.execute(text("SELECT 1"))  # begins the transaction
        await self.work.enqueue(messages)
        await self.work.flush(self.handoff)

    def move_clock(self, seconds: float) -> None:
        self.store.run(self.work.connection.execute(SHIFT_SOME, {"seconds": seconds, "names": list(self.names)}))

    def end(self, *, commit: bool) -> None:
        self.store.open_writes.remove(self)
        self.store.run(self._end(None if commit else NotCommitted()))

    async def _end(self, error: Exception | None) -> None:
        with suppress(NotCommitted):
            await self.stack.__aexit__(type(error) if error else None, error, None)


@contextmanager
def open_memory_store() -> Iterator[MemoryStore]:
    with asyncio.Runner() as runner:
        yield MemoryStore(runner)


@contextmanager
def open_sql_store(admin_url: str, service_url: str) -> Iterator[SqlStore]:
    with asyncio.Runner() as runner:
        engine = create_engine(SERVICE, service_url)
        admin = runner.run(asyncpg.connect(asyncpg_dsn(admin_url)))
        store = SqlStore(runner, engine, admin)
        try:
            yield store
        finally:
            store.clear()
            runner.run(admin.close())
            runner.run(engine.dispose())


def _roll_back_unless(*, commit: bool) -> None:
    if not commit:
        raise NotCommitted


async def _execute(engine: AsyncEngine, statement: TextClause, **values: Any) -> ResultRows:
    async with acquire(engine) as connection:
        return await connection.execute_without_begin(statement, values)


async def _await(call: Awaitable[T]) -> T:
    return await call
