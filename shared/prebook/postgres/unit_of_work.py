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

from prebook.messaging.channel import Unreachable
from prebook.messaging.envelope import Envelope, Kind
from prebook.messaging.errors import spelled
from prebook.messaging.outbox.handoff import Handover
from prebook.messaging.unit_of_work import Begin, Expectation, Posting
from prebook.postgres.connection import Rows, Session, in_time, session
from prebook.postgres.flush import Legacy, Opening, Part, leaving
from prebook.postgres.inbox import ADMIT, ADMIT_ALL, ADMIT_ANSWER, ADMITTED_AT, ANSWER_TO, QUESTION
from prebook.postgres.message_column import from_column
from prebook.postgres.pool import limit_of

GONE = (asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError)
Run = Callable[[TextClause, Mapping[str, Any]], Awaitable[Rows]]
Taking = Callable[[Sequence[Posting]], AbstractContextManager[Handover]]
"""Who takes what was posted, around the statement that writes it and its commit."""


class SqlWork:
    """UnitOfWork on an open transaction. A service's adapter adds its own state to it.

    Reads and claims happen at once; what is only written is gathered and written by ``leave``.
    """

    def __init__(self, connection: Session) -> None:
        self.connection = connection
        self._legacy, self._opening = Legacy(), list[Opening]()

    def begin_with(self, opening: Opening) -> None:
        """In one statement with what is left, or before whatever else this unit writes (see ``opened``)."""
        self._opening.append(opening)

    async def opened(self) -> None:
        """Now, for something else is to be written before the end. Raises what the opening says."""
        while self._opening:
            await self._written((), self._opening.pop(), self.connection.execute, Handover())

    async def admit(self, envelope: Envelope) -> bool:
        row = {"id": envelope.id, "flow": envelope.flow, "conversation": envelope.conversation}
        if envelope.kind is Kind.ANSWER:
            return bool(await self._scalar(ADMIT_ANSWER, request_id=envelope.id.removesuffix(".answer"), **row))
        return bool(await self._scalar(ADMIT, **row))

    async def admit_all(self, envelopes: Sequence[Envelope]) -> Collection[str]:
        if len(envelopes) == 1:
            return [envelope.id for envelope in envelopes if await self.admit(envelope)]
        answers = [e.id.removesuffix(".answer") for e in envelopes if e.kind is Kind.ANSWER]
        columns = {
            "id": [e.id for e in envelopes],
            "flow": [e.flow for e in envelopes],
            "conversation": [e.conversation for e in envelopes],
        }
        return set((await self.connection.execute(ADMIT_ALL, {"request_id": answers, **columns})).scalars())

    async def admitted_at(self, message_id: str) -> datetime | None:
        at: datetime | None = (await self.connection.alone(ADMITTED_AT, {"id": message_id})).scalar()
        return at

    async def owe(self, request: Envelope) -> None:
        self._legacy.owed.append(request)

    async def question(self, flow: str, conversation: str) -> Envelope | None:
        found = await self._scalar(QUESTION, flow=flow, conversation=conversation)
        return from_column(found) if found else None

    async def answered(self, answer: Envelope) -> None:
        self._legacy.answered.append(answer)

    async def answer_to(self, request_id: str) -> Envelope | None:
        found = (await self.connection.alone(ANSWER_TO, {"id": request_id})).scalar()
        return from_column(found) if found else None

    async def post(self, postings: Sequence[Posting]) -> None:
        self._legacy.posted += postings

    async def expect(self, expectations: Sequence[Expectation]) -> None:
        self._legacy.asked += expectations

    @property
    def posted(self) -> Sequence[Posting]:
        """What ``leave`` will write into the outbox."""
        return self._legacy.posted

    async def leave(self, handover: Handover | None = None) -> None:
        """Write what was gathered; the last thing before the commit. Raises what the opening says."""
        handover = handover or Handover()
        parts, opening = self._legacy.parts, self._opening.pop() if self._opening else None
        if parts or opening:
            await self._written(parts, opening, self.connection.alone, handover)
        self._legacy = Legacy()

    async def _written(self, parts: tuple[Part, ...], opening: Opening | None, run: Run, handover: Handover) -> None:
        values = {**(opening.values if opening else {}), **(self._legacy.values(handover) if parts else {})}
        rows = await run(leaving(parts, opening.parts if opening else ""), values)
        if opening and not rows:
            handover.void = True
            raise opening.failed()
        if handover.offered:
            handover.claimed = {row.message_id: row.seq for row in rows if row.message_id is not None}

    async def _run(self, statement: TextClause, **values: Any) -> None:
        await self.connection.execute(statement, values)

    async def _scalar(self, statement: TextClause, **values: Any) -> Any:
        return (await self.connection.execute(statement, values)).scalar()


@contextmanager
def reachable(connection: Session | None = None) -> Iterator[None]:
    """A database that goes away in the middle is Unreachable: worth another try."""
    try:
        yield
    except asyncpg.DataError:
        raise
    except (*GONE, InterfaceError) as error:
        raise Unreachable(spelled(error)) from error
    except asyncpg.PostgresError as error:
        if connection is None or not connection.is_lost:
            raise
        raise Unreachable(spelled(error)) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise Unreachable(spelled(error)) from error


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Whatever keeps us from a connection is Unreachable: down, starting, full, refusing us, or our pool used up."""
    try:
        connection = await engine.connect()
    except (DBAPIError, PoolTimeout, OSError) as error:
        raise Unreachable(f"no connection to the database: {spelled(error)}") from error
    try:
        yield connection
    finally:
        await connection.close()


W = TypeVar("W", bound=SqlWork)


def _nobody(_: Sequence[Posting]) -> AbstractContextManager[Handover]:
    return nullcontext(Handover())


def units_of_work(engine: AsyncEngine, work: Callable[[Session], W], taking: Taking = _nobody) -> Begin[W]:
    """Each unit of work is one transaction of its own connection. ``taking``: the relay's of this process."""

    @asynccontextmanager
    async def begin() -> AsyncIterator[W]:
        async with session(engine) as connection:
            with reachable(connection):
                unit = work(connection)
                yield unit
                with taking(unit.posted) as handover, in_time(limit_of(engine)):  # both together: others wait behind
                    await unit.leave(handover)
                    await connection.commit()

    return begin
