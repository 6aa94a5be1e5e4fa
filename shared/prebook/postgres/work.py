"""The unit of work on PostgreSQL: one transaction, few round trips."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from prebook.messaging.channel import Unreachable
from prebook.messaging.envelope import Envelope, Kind
from prebook.messaging.failures import spelled
from prebook.messaging.unit_of_work import Begin, Expectation, Posting
from prebook.postgres.inbox import ADMIT, ADMIT_ALL, ADMIT_ANSWER, ADMITTED_AT, ANSWER_TO, QUESTION
from prebook.postgres.session import Session, session
from prebook.postgres.wire import from_column, to_column

# Everything that a step leaves behind, in one round trip before the commit. Times come as spans from now on: relay and
# deadlines go by the database's clock, and a service whose own clock is wrong must neither wait nor hurry for that.
LEAVE = text("""
    WITH owed AS (
        UPDATE inbox SET request = noted.wire
        FROM unnest(CAST(:owed_id AS text[]), CAST(:owed_wire AS text[])) AS noted (id, wire)
        WHERE message_id = noted.id),
    answered AS (
        UPDATE inbox SET answer = noted.wire
        FROM unnest(CAST(:answered_id AS text[]), CAST(:answered_wire AS text[])) AS noted (id, wire)
        WHERE message_id = noted.id),
    posted AS (
        INSERT INTO outbox (message_id, kind, flow, conversation, lane, wire, not_before, expires_at,
            order_key)
        SELECT id, kind, flow, conversation, lane, wire, now() + after, expires_at, order_key
        FROM unnest(CAST(:id AS text[]), CAST(:kind AS text[]), CAST(:flow AS text[]),
            CAST(:conversation AS text[]), CAST(:lane AS text[]), CAST(:wire AS text[]),
            CAST(:after AS interval[]), CAST(:expires_at AS timestamptz[]), CAST(:order_key AS text[]))
            AS p (id, kind, flow, conversation, lane, wire, after, expires_at, order_key)
        ON CONFLICT (message_id) DO NOTHING)
    INSERT INTO awaited (request_id, flow, conversation, wire, due_at, poll_at)
    SELECT id, flow, conversation, wire, now() + due, now() + poll
    FROM unnest(CAST(:asked_id AS text[]), CAST(:asked_flow AS text[]), CAST(:asked_conversation AS text[]),
        CAST(:asked_wire AS text[]), CAST(:due AS interval[]), CAST(:poll AS interval[]))
        AS a (id, flow, conversation, wire, due, poll)
    ON CONFLICT (request_id) DO NOTHING""")


class SqlWork:
    """UnitOfWork on an open transaction. A service's adapter adds its own state to it.

    Reads and claims happen at once; what is only written is gathered and written by ``leave``.
    """

    def __init__(self, connection: Session) -> None:
        self.connection = connection
        self._owed: list[Envelope] = []
        self._answers: list[Envelope] = []
        self._postings: list[Posting] = []
        self._expectations: list[Expectation] = []

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
        self._owed.append(request)

    async def question(self, flow: str, conversation: str) -> Envelope | None:
        found = await self._scalar(QUESTION, flow=flow, conversation=conversation)
        return from_column(found) if found else None

    async def answered(self, answer: Envelope) -> None:
        self._answers.append(answer)

    async def answer_to(self, request_id: str) -> Envelope | None:
        found = (await self.connection.alone(ANSWER_TO, {"id": request_id})).scalar()
        return from_column(found) if found else None

    async def post(self, postings: Sequence[Posting]) -> None:
        self._postings += postings

    async def expect(self, expectations: Sequence[Expectation]) -> None:
        self._expectations += expectations

    async def leave(self) -> None:
        """Write what was gathered; the last thing before the commit."""
        if not (self._owed or self._answers or self._postings or self._expectations):
            return
        columns: dict[str, list[Any]] = {
            "owed_id": [request.id for request in self._owed],
            "owed_wire": [to_column(request) for request in self._owed],
            "answered_id": [answer.id.removesuffix(".answer") for answer in self._answers],
            "answered_wire": [to_column(answer) for answer in self._answers],
            **_posted(self._postings),
            **_awaited(self._expectations),
        }
        await self._run(LEAVE, **columns)

    async def _run(self, statement: TextClause, **values: Any) -> None:
        await self.connection.execute(statement, values)

    async def _scalar(self, statement: TextClause, **values: Any) -> Any:
        return (await self.connection.execute(statement, values)).scalar()


def _posted(postings: Sequence[Posting]) -> dict[str, list[Any]]:
    return {
        "id": [p.envelope.id for p in postings],
        "kind": [p.envelope.kind.value for p in postings],
        "flow": [p.envelope.flow for p in postings],
        "conversation": [p.envelope.conversation for p in postings],
        "lane": [p.lane for p in postings],
        "wire": [to_column(p.envelope) for p in postings],
        "after": [p.after for p in postings],
        "expires_at": [p.envelope.expires_at for p in postings],
        "order_key": [p.order_key for p in postings],
    }


def _awaited(expectations: Sequence[Expectation]) -> dict[str, list[Any]]:
    return {
        "asked_id": [e.request.id for e in expectations],
        "asked_flow": [e.request.flow for e in expectations],
        "asked_conversation": [e.request.conversation for e in expectations],
        "asked_wire": [to_column(e.request) for e in expectations],
        "due": [e.due_at - e.request.time for e in expectations],
        "poll": [e.poll_at - e.request.time if e.poll_at else None for e in expectations],
    }


@contextmanager
def reachable(connection: Session | None = None) -> Iterator[None]:
    """A database that goes away in the middle is Unreachable: worth another try."""
    try:
        yield
    except asyncpg.DataError:
        raise
    except (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, InterfaceError) as error:
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


def units_of_work(engine: AsyncEngine, work: Callable[[Session], W]) -> Begin[W]:
    """Each unit of work is one transaction of its own connection."""

    @asynccontextmanager
    async def begin() -> AsyncIterator[W]:
        async with session(engine) as connection:
            with reachable(connection):
                unit = work(connection)
                yield unit
                await unit.leave()
                await connection.commit()

    return begin
