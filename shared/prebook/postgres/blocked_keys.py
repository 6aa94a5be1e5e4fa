"""What a receiver has put down, in its own schema."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from prebook.messaging.envelope import Envelope
from prebook.messaging.recoverability.blocked_keys import Place, Standing
from prebook.postgres.connection import in_time, session
from prebook.postgres.message_column import from_column, to_column
from prebook.postgres.pool import limit_of
from prebook.postgres.purge import oldest
from prebook.postgres.unit_of_work import reachable

PLACE = text("""
    SELECT (SELECT standing FROM held WHERE group_name = :group AND message_id = :id),
        (SELECT standing FROM held WHERE group_name = :group AND order_key = :key ORDER BY seq DESC LIMIT 1)""")
PUT_DOWN = text("""
    INSERT INTO held (group_name, order_key, message_id, wire, standing, due_at, why)
    VALUES (:group, :key, :id, :wire, :standing, now() + make_interval(secs => :pause_s), :why)
    ON CONFLICT (group_name, message_id) DO UPDATE
        SET wire = excluded.wire, standing = excluded.standing, due_at = excluded.due_at, why = excluded.why""")
LET_GO = text("""
    DELETE FROM held WHERE group_name = :group AND order_key = :key
        AND seq <= (SELECT seq FROM held WHERE group_name = :group AND message_id = :id)""")
FIRST = text("""
    SELECT wire, standing = 'waiting' AND due_at <= now() FROM held
    WHERE group_name = :group AND order_key = :key ORDER BY seq LIMIT 1""")
WAITING = text("""
    SELECT wire FROM held WHERE group_name = :group AND order_key = :key AND standing = 'waiting' ORDER BY seq""")
DUE = text("""
    SELECT group_name, order_key FROM (
        SELECT DISTINCT ON (group_name, order_key) group_name, order_key, standing, due_at FROM held
        ORDER BY group_name, order_key, seq) AS first
    WHERE standing = 'waiting' AND due_at <= now() ORDER BY due_at LIMIT :limit""")
# They end with the session: a process that dies leaves no key locked. One session has all the locks of a process, and
# is given back with the last of them.
LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:group || ' ' || :key, 0))")
UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:group || ' ' || :key, 0))")
EXTENT = text("""
    SELECT group_name, standing, count(*), count(DISTINCT order_key),
        extract(epoch FROM now() - min(held_at))::float FROM held GROUP BY group_name, standing""")
# Who does not know the parked message any more could not tell that it is replayed.
FORGOTTEN = oldest("held", "held_at", "standing = 'parked'")


class SqlHolds:
    """Implements messaging.holds.Holds."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._session: AsyncConnection | None = None
        self._holders = 0
        self._one_statement = asyncio.Lock()

    async def place(self, group: str, envelope: Envelope) -> Place:
        ((own, last),) = await self._rows(PLACE, group=group, key=envelope.conversation, id=envelope.id)
        return Place(Standing(own) if own else None, Standing(last) if last else None)

    async def put_down(self, group: str, envelope: Envelope, standing: Standing, *, pause_s: float, why: str) -> None:
        said = {"id": envelope.id, "key": envelope.conversation, "wire": to_column(envelope)}
        await self._run(PUT_DOWN, group=group, standing=standing.value, pause_s=pause_s, why=why, **said)

    async def let_go(self, group: str, envelope: Envelope) -> None:
        await self._run(LET_GO, group=group, key=envelope.conversation, id=envelope.id)

    async def first(self, group: str, key: str) -> Envelope | None:
        rows = await self._rows(FIRST, group=group, key=key)
        return next((from_column(wire) for wire, due in rows if due), None)

    async def waiting(self, group: str, key: str) -> Sequence[Envelope]:
        return [from_column(row.wire) for row in await self._rows(WAITING, group=group, key=key)]

    async def due(self, limit: int) -> Sequence[tuple[str, str]]:
        return [(row.group_name, row.order_key) for row in await self._rows(DUE, limit=limit)]

    @asynccontextmanager
    async def alone(self, group: str, key: str) -> AsyncIterator[bool]:
        """Two who both have a key, for a session is lost, do no harm: each goes through it in order."""
        self._holders += 1
        alone = False
        try:
            alone = await self._locked(LOCK, group, key)
            yield alone
        finally:
            try:
                if alone:
                    await self._locked(UNLOCK, group, key)
            finally:
                self._holders -= 1
                if not self._holders:
                    await self._end_session()

    async def _locked(self, statement: TextClause, group: str, key: str) -> bool:
        async with self._one_statement:
            try:
                with reachable(), in_time(limit_of(self._engine)):
                    self._session = self._session or await self._engine.connect()
                    return bool((await self._session.execute(statement, {"group": group, "key": key})).scalar())
            except BaseException:
                await self._end_session(broken=True)
                raise

    async def _end_session(self, *, broken: bool = False) -> None:
        """With a broken one its locks go too: nobody knows which of them it has."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(DBAPIError, OSError):
                if broken:
                    await session.invalidate()
                await session.close()

    async def extent(self) -> Sequence[tuple[str, str, int, int, float]]:
        """(group, standing, messages, keys, seconds since the first of them was put down)."""
        return [tuple(row) for row in await self._rows(EXTENT)]

    async def _run(self, statement: TextClause, **values: Any) -> None:
        await self._rows(statement, **values)

    async def _rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        async with session(self._engine) as connection:
            with reachable(connection):
                return await connection.alone(statement, values)
