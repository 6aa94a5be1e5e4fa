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
from prebook.messaging.recoverability.blocked_keys import BlockStatus, KeyStatus
from prebook.postgres.connection import acquire, enforce_timeout
from prebook.postgres.message_column import from_column, to_column
from prebook.postgres.pool import command_timeout_of
from prebook.postgres.purge import purge_statement
from prebook.postgres.unit_of_work import translate_errors

BLOCK_STATUS = text("""
    SELECT (SELECT standing FROM held WHERE group_name = :group AND message_id = :id),
        (SELECT standing FROM held WHERE group_name = :group AND order_key = :key ORDER BY seq DESC LIMIT 1)""")
BLOCK = text("""
    INSERT INTO held (group_name, order_key, message_id, wire, standing, due_at, why)
    VALUES (:group, :key, :id, :wire, :standing, now() + make_interval(secs => :pause_s), :why)
    ON CONFLICT (group_name, message_id) DO UPDATE
        SET wire = excluded.wire, standing = excluded.standing, due_at = excluded.due_at, why = excluded.why""")
UNBLOCK = text("""
    DELETE FROM held WHERE group_name = :group AND order_key = :key
        AND seq <= (SELECT seq FROM held WHERE group_name = :group AND message_id = :id)""")
NEXT_DUE = text("""
    SELECT wire, standing = 'waiting' AND due_at <= now() FROM held
    WHERE group_name = :group AND order_key = :key ORDER BY seq LIMIT 1""")
WAITING = text("""
    SELECT wire FROM held WHERE group_name = :group AND order_key = :key AND standing = 'waiting' ORDER BY seq""")
DUE_KEYS = text("""
    SELECT group_name, order_key FROM (
        SELECT DISTINCT ON (group_name, order_key) group_name, order_key, standing, due_at FROM held
        ORDER BY group_name, order_key, seq) AS first
    WHERE standing = 'waiting' AND due_at <= now() ORDER BY due_at LIMIT :limit""")
# They end with the session: a process that dies leaves no key locked. One session has all the locks of a process, and
# is given back with the last of them.
LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:group || ' ' || :key, 0))")
UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:group || ' ' || :key, 0))")
COUNTS = text("""
    SELECT group_name, standing, count(*), count(DISTINCT order_key),
        extract(epoch FROM now() - min(held_at))::float FROM held GROUP BY group_name, standing""")
# Who does not know the parked message any more could not tell that it is replayed.
PURGE_PARKED = purge_statement("held", "held_at", "standing = 'parked'")


class SqlBlockedKeys:
    """Implements messaging.holds.Holds."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._lock_connection: AsyncConnection | None = None
        self._lock_users = 0
        self._statement_lock = asyncio.Lock()

    async def read_status(self, group: str, envelope: Envelope) -> KeyStatus:
        ((own, last),) = await self._fetch_rows(BLOCK_STATUS, group=group, key=envelope.conversation_id, id=envelope.id)
        return KeyStatus(BlockStatus(own) if own else None, BlockStatus(last) if last else None)

    async def block(self, group: str, envelope: Envelope, status: BlockStatus, *, delay_s: float, error: str) -> None:
        said = {"id": envelope.id, "key": envelope.conversation_id, "wire": to_column(envelope)}
        await self._execute(BLOCK, group=group, standing=status.value, pause_s=delay_s, why=error, **said)

    async def unblock(self, group: str, envelope: Envelope) -> None:
        await self._execute(UNBLOCK, group=group, key=envelope.conversation_id, id=envelope.id)

    async def find_next_due(self, group: str, key: str) -> Envelope | None:
        rows = await self._fetch_rows(NEXT_DUE, group=group, key=key)
        return next((from_column(wire) for wire, due in rows if due), None)

    async def list_waiting(self, group: str, key: str) -> Sequence[Envelope]:
        return [from_column(row.wire) for row in await self._fetch_rows(WAITING, group=group, key=key)]

    async def list_due_keys(self, limit: int) -> Sequence[tuple[str, str]]:
        return [(row.group_name, row.order_key) for row in await self._fetch_rows(DUE_KEYS, limit=limit)]

    @asynccontextmanager
    async def try_lock(self, group: str, key: str) -> AsyncIterator[bool]:
        """Two who both have a key, for a session is lost, do no harm: each goes through it in order."""
        self._lock_users += 1
        alone = False
        try:
            alone = await self._run_lock_statement(LOCK, group, key)
            yield alone
        finally:
            try:
                if alone:
                    await self._run_lock_statement(UNLOCK, group, key)
            finally:
                self._lock_users -= 1
                if not self._lock_users:
                    await self._close_lock_connection()

    async def _run_lock_statement(self, statement: TextClause, group: str, key: str) -> bool:
        async with self._statement_lock:
            try:
                with translate_errors(), enforce_timeout(command_timeout_of(self._engine)):
                    self._lock_connection = self._lock_connection or await self._engine.connect()
                    return bool((await self._lock_connection.execute(statement, {"group": group, "key": key})).scalar())
            except BaseException:
                await self._close_lock_connection(invalidate=True)
                raise

    async def _close_lock_connection(self, *, invalidate: bool = False) -> None:
        """With a broken one its locks go too: nobody knows which of them it has."""
        session, self._lock_connection = self._lock_connection, None
        if session is not None:
            with contextlib.suppress(DBAPIError, OSError):
                if invalidate:
                    await session.invalidate()
                await session.close()

    async def count_blocked(self) -> Sequence[tuple[str, str, int, int, float]]:
        """(group, standing, messages, keys, seconds since the first of them was put down)."""
        return [tuple(row) for row in await self._fetch_rows(COUNTS)]

    async def _execute(self, statement: TextClause, **values: Any) -> None:
        await self._fetch_rows(statement, **values)

    async def _fetch_rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        async with acquire(self._engine) as connection:
            with translate_errors(connection):
                return await connection.execute_without_begin(statement, values)
