"""Unit of work on PostgreSQL: one transaction, few round trips."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.crash_points import CrashPoint, reach
from prebook.messaging.envelope import Envelope, MessageKind, reply_id, request_id_of
from prebook.messaging.outbox.handoff import Handoff, OpenHandoff, no_handoff
from prebook.messaging.unit_of_work import (
    BeginUnitOfWork,
    CheckedBody,
    OutboxMessage,
    PendingReply,
    StoredBody,
    UnitOfWork,
)
from prebook.postgres.checked_body import EXTEND_BODIES, READ_BODY
from prebook.postgres.connection import PooledConnection, ResultRows, acquire, enforce_timeout, unreachable_of
from prebook.postgres.flush import GuardInsert, PendingPart, PendingWrites, flush_statement
from prebook.postgres.inbox import (
    OUTSTANDING,
    PENDING_REQUEST,
    RECEIVED_AT,
    RECORD_MESSAGE,
    RECORD_MESSAGES,
    RECORD_REPLY_MESSAGE,
    STOP_POLLING,
    STORED_REPLIES,
    STORED_REPLY,
)
from prebook.postgres.message_column import from_column
from prebook.postgres.outages import DATABASE_ERRORS
from prebook.postgres.pool import command_timeout_of, write_health_of

ExecuteStatement = Callable[[TextClause, Mapping[str, Any]], Awaitable[ResultRows]]


class SqlUnitOfWork(UnitOfWork):
    """Unit of work on one connection. A service's subclass adds its own tables.

    Reads, and inserts into the inbox, run at once; other writes are collected and written by ``flush``.
    """

    def __init__(self, connection: PooledConnection) -> None:
        self.connection = connection
        self._pending = PendingWrites()
        self._guards: list[GuardInsert] = []

    def guard_with(self, guard: GuardInsert) -> None:
        """Insert the guard in the statement of ``flush``, or before any other write (see ``GuardInsert``)."""
        self._guards.append(guard)

    async def flush_guard(self) -> None:
        """Insert the guard now, before another write. Raises the guard's error if it inserts nothing."""
        while self._guards:
            await self._write((), self._guards.pop(), self.connection.execute, Handoff())

    async def record_message(self, envelope: Envelope) -> bool:
        row = {"id": envelope.id, "flow": envelope.flow, "conversation_id": envelope.conversation_id}
        if envelope.kind is MessageKind.REPLY:
            return bool(await self._fetch_scalar(RECORD_REPLY_MESSAGE, request_id=request_id_of(envelope.id), **row))
        return bool(await self._fetch_scalar(RECORD_MESSAGE, **row))

    async def record_messages(self, envelopes: Sequence[Envelope]) -> Collection[str]:
        if len(envelopes) == 1:
            return [envelope.id for envelope in envelopes if await self.record_message(envelope)]
        request_ids = [request_id_of(e.id) for e in envelopes if e.kind is MessageKind.REPLY]
        columns = {
            "id": [e.id for e in envelopes],
            "flow": [e.flow for e in envelopes],
            "conversation_id": [e.conversation_id for e in envelopes],
        }
        return set((await self.connection.execute(RECORD_MESSAGES, {"request_id": request_ids, **columns})).scalars())

    async def find_received_at(self, message_id: str) -> datetime | None:
        at: datetime | None = (await self.connection.execute_without_begin(RECEIVED_AT, {"id": message_id})).scalar()
        return at

    async def record_request(self, request: Envelope) -> None:
        self._pending.requests.append(request)

    async def find_pending_request(self, flow: str, conversation_id: str) -> Envelope | None:
        found = await self._fetch_scalar(PENDING_REQUEST, flow=flow, conversation_id=conversation_id)
        return from_column(found) if found else None

    async def record_reply(self, reply: Envelope) -> None:
        self._pending.replies.append(reply)

    async def find_reply(self, request_id: str) -> Envelope | None:
        found = (await self.connection.execute_without_begin(STORED_REPLY, {"id": request_id})).scalar()
        return from_column(found) if found else None

    async def find_replies(self, request_ids: Collection[str]) -> Sequence[Envelope]:
        found = await self.connection.execute_without_begin(STORED_REPLIES, {"ids": list(request_ids)})
        return [from_column(reply) for reply in found.scalars()]

    async def enqueue(self, messages: Sequence[OutboxMessage]) -> None:
        self._pending.enqueued += messages

    async def await_replies(self, pending_replies: Sequence[PendingReply]) -> None:
        self._pending.pending_replies += pending_replies

    async def list_outstanding(self, request_ids: Sequence[str]) -> Collection[str]:
        values = {"request_ids": list(request_ids), "reply_ids": [reply_id(each) for each in request_ids]}
        return set((await self.connection.execute_without_begin(OUTSTANDING, values)).scalars())

    async def stop_polling(self, request_id: str) -> None:
        await self._execute(STOP_POLLING, request_id=request_id)

    async def store_bodies(self, bodies: Sequence[CheckedBody]) -> None:
        self._pending.checked_bodies += bodies

    async def read_body(self, reference: str) -> StoredBody | None:
        row = (await self.connection.execute(READ_BODY, {"id": reference})).first()
        return StoredBody(MessageKind(row.kind), row.flow, row.body) if row else None

    async def extend_bodies(self, references: Collection[str], lifetime: timedelta) -> int:
        return int(await self._fetch_scalar(EXTEND_BODIES, ids=list(references), lifetime=lifetime))

    @property
    def enqueued(self) -> Sequence[OutboxMessage]:
        """Messages that ``flush`` will write into the outbox."""
        return self._pending.enqueued

    @property
    def has_writes(self) -> bool:
        """Whether ``flush`` has anything to write."""
        return bool(self._pending.parts or self._guards)

    async def flush(self, handoff: Handoff | None = None) -> None:
        """Write everything collected, right before the commit. Raises the guard's error if it inserts nothing."""
        handoff = handoff or Handoff()
        parts = self._pending.parts
        guard = self._guards.pop() if self._guards else None
        if parts or guard:
            await self._write(parts, guard, self.connection.execute_without_begin, handoff)
        self._pending = PendingWrites()

    async def _write(
        self, parts: tuple[PendingPart, ...], guard: GuardInsert | None, execute: ExecuteStatement, handoff: Handoff
    ) -> None:
        values = {**(guard.values if guard else {}), **(self._pending.values(handoff) if parts else {})}
        rows = await execute(flush_statement(parts, guard.ctes if guard else ""), values)
        if guard and not rows:
            handoff.nothing_written = True
            raise guard.make_error()
        if handoff.offered:
            handoff.claimed = {row.message_id: row.seq for row in rows if row.message_id is not None}

    async def _execute(self, statement: TextClause, **values: Any) -> None:
        await self.connection.execute(statement, values)

    async def _fetch_rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        """Return the rows, which are mappings by column name as well."""
        return await self.connection.execute(statement, values)

    async def _fetch_scalar(self, statement: TextClause, **values: Any) -> Any:
        return (await self.connection.execute(statement, values)).scalar()


@contextmanager
def translate_errors(engine: AsyncEngine) -> Iterator[None]:
    """Raise Unreachable, which is retried, for an outage of the database met by SQLAlchemy's own connections."""
    try:
        yield
    except DATABASE_ERRORS as error:
        failure = unreachable_of(error, engine)
        if failure is None:
            raise
        raise failure from error


W = TypeVar("W", bound=SqlUnitOfWork)


def unit_of_work_factory(
    engine: AsyncEngine, make_work: Callable[[PooledConnection], W], open_handoff: OpenHandoff = no_handoff
) -> BeginUnitOfWork[W]:
    """Return a factory of units of work, each one transaction on its own connection.

    ``open_handoff`` is the one of this process's relay.
    """

    write_health = write_health_of(engine)

    @asynccontextmanager
    async def begin() -> AsyncIterator[W]:
        async with acquire(engine) as connection:
            unit = make_work(connection)
            yield unit
            # One timeout for flush and commit: later messages of the same keys wait for both.
            with open_handoff(unit.enqueued) as handoff, enforce_timeout(command_timeout_of(engine)):
                has_writes = unit.has_writes
                await unit.flush(handoff)
                reach(CrashPoint.BEFORE_COMMIT)
                await connection.commit()
                reach(CrashPoint.AFTER_COMMIT)
            if has_writes:
                write_health.record_success()

    return begin
