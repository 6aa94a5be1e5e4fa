"""The unit of work on PostgreSQL: one transaction, few round trips."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from datetime import datetime
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import TextClause
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from prebook.messaging.envelope import Envelope, MessageKind, request_id_of
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.unit_of_work import BeginUnitOfWork, OutboxMessage, PendingReply
from prebook.postgres.connection import PooledConnection, ResultRows, acquire, enforce_timeout
from prebook.postgres.flush import GuardInsert, PendingPart, PendingWrites, flush_statement
from prebook.postgres.inbox import (
    PENDING_REQUEST,
    RECEIVED_AT,
    RECORD_MESSAGE,
    RECORD_MESSAGES,
    RECORD_REPLY_MESSAGE,
    STORED_REPLY,
)
from prebook.postgres.message_column import from_column
from prebook.postgres.pool import command_timeout_of

CONNECTION_LOST_ERRORS = (asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError)
ExecuteStatement = Callable[[TextClause, Mapping[str, Any]], Awaitable[ResultRows]]
OpenHandoff = Callable[[Sequence[OutboxMessage]], AbstractContextManager[Handoff]]
"""Who takes what was posted, around the statement that writes it and its commit."""


class SqlUnitOfWork:
    """UnitOfWork on an open transaction. A service's adapter adds its own state to it.

    Reads and claims happen at once; what is only written is gathered and written by ``leave``.
    """

    def __init__(self, connection: PooledConnection) -> None:
        self.connection = connection
        self._pending, self._guards = PendingWrites(), list[GuardInsert]()

    def guard_with(self, guard: GuardInsert) -> None:
        """In one statement with what is left, or before whatever else this unit writes (see ``GuardInsert``)."""
        self._guards.append(guard)

    async def flush_guard(self) -> None:
        """Now, for something else is to be written before the end. Raises what the opening says."""
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

    async def enqueue(self, messages: Sequence[OutboxMessage]) -> None:
        self._pending.enqueued += messages

    async def await_replies(self, pending_replies: Sequence[PendingReply]) -> None:
        self._pending.pending_replies += pending_replies

    @property
    def enqueued(self) -> Sequence[OutboxMessage]:
        """What ``leave`` will write into the outbox."""
        return self._pending.enqueued

    async def flush(self, handoff: Handoff | None = None) -> None:
        """Write what was gathered; the last thing before the commit. Raises what the opening says."""
        handoff = handoff or Handoff()
        parts, opening = self._pending.parts, self._guards.pop() if self._guards else None
        if parts or opening:
            await self._write(parts, opening, self.connection.execute_without_begin, handoff)
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

    async def _fetch_scalar(self, statement: TextClause, **values: Any) -> Any:
        return (await self.connection.execute(statement, values)).scalar()


@contextmanager
def translate_errors(connection: PooledConnection | None = None) -> Iterator[None]:
    """A database that goes away in the middle is Unreachable: worth another try."""
    try:
        yield
    except asyncpg.DataError:
        raise
    except (*CONNECTION_LOST_ERRORS, InterfaceError) as error:
        raise Unreachable(error_summary(error)) from error
    except asyncpg.PostgresError as error:
        if connection is None or not connection.is_closed:
            raise
        raise Unreachable(error_summary(error)) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise Unreachable(error_summary(error)) from error


@asynccontextmanager
async def open_connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Whatever keeps us from a connection is Unreachable: down, starting, full, refusing us, or our pool used up."""
    try:
        connection = await engine.connect()
    except (DBAPIError, PoolTimeout, OSError) as error:
        raise Unreachable(f"no connection to the database: {error_summary(error)}") from error
    try:
        yield connection
    finally:
        await connection.close()


W = TypeVar("W", bound=SqlUnitOfWork)


def _no_handoff(_: Sequence[OutboxMessage]) -> AbstractContextManager[Handoff]:
    return nullcontext(Handoff())


def unit_of_work_factory(
    engine: AsyncEngine, make_work: Callable[[PooledConnection], W], open_handoff: OpenHandoff = _no_handoff
) -> BeginUnitOfWork[W]:
    """Each unit of work is one transaction of its own connection. ``taking``: the relay's of this process."""

    @asynccontextmanager
    async def begin() -> AsyncIterator[W]:
        async with acquire(engine) as connection:
            with translate_errors(connection):
                unit = make_work(connection)
                yield unit
                with (
                    open_handoff(unit.enqueued) as handover,
                    enforce_timeout(command_timeout_of(engine)),
                ):  # both together: others wait behind
                    await unit.flush(handover)
                    await connection.commit()

    return begin
