"""A service's blocked messages, in its own schema."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from prebook.messaging.envelope import Envelope
from prebook.messaging.recoverability.blocked_keys import BlockedKeys, BlockStatus, KeyStatus
from prebook.postgres.connection import acquire, enforce_timeout
from prebook.postgres.message_column import from_column, to_column
from prebook.postgres.pool import command_timeout_of
from prebook.postgres.purge import purge_statement
from prebook.postgres.state_literals import with_states
from prebook.postgres.statements import statement_factory
from prebook.postgres.unit_of_work import translate_errors

_statement = statement_factory(BlockStatus)

BLOCK_STATUS = text("""
    SELECT (SELECT status FROM blocked WHERE group_name = :group AND message_id = :id),
        (SELECT status FROM blocked WHERE group_name = :group AND ordering_key = :key ORDER BY seq DESC LIMIT 1)""")
BLOCK = text("""
    INSERT INTO blocked (group_name, ordering_key, message_id, message, status, due_at, error)
    VALUES (:group, :key, :id, :message, :status, now() + make_interval(secs => :delay_s), :error)
    ON CONFLICT (group_name, message_id) DO UPDATE
        SET message = excluded.message, status = excluded.status, due_at = excluded.due_at, error = excluded.error""")
UNBLOCK = text("""
    DELETE FROM blocked WHERE group_name = :group AND ordering_key = :key
        AND seq <= (SELECT seq FROM blocked WHERE group_name = :group AND message_id = :id)""")
NEXT_DUE = _statement("""
    SELECT message, status = {WAITING} AND due_at <= now() FROM blocked
    WHERE group_name = :group AND ordering_key = :key ORDER BY seq LIMIT 1""")
WAITING = _statement("""
    SELECT message FROM blocked
    WHERE group_name = :group AND ordering_key = :key AND status = {WAITING} ORDER BY seq""")
DUE_KEYS = _statement("""
    SELECT group_name, ordering_key FROM (
        SELECT DISTINCT ON (group_name, ordering_key) group_name, ordering_key, status, due_at FROM blocked
        ORDER BY group_name, ordering_key, seq) AS first
    WHERE status = {WAITING} AND due_at <= now() ORDER BY due_at LIMIT :limit""")
# The locks end with their session, so a process that dies leaves no key locked. One session holds all locks of a
# process; it is returned to the pool with the last of them.
LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:group || ' ' || :key, 0))")
UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:group || ' ' || :key, 0))")
COUNTS = text("""
    SELECT group_name, status, count(*), count(DISTINCT ordering_key),
        extract(epoch FROM now() - min(blocked_at))::float FROM blocked GROUP BY group_name, status""")
# Kept until then because a replay of the parked message is recognised by this row.
PURGE_PARKED = purge_statement("blocked", "blocked_at", with_states("status = {PARKED}", BlockStatus))


class SqlBlockedKeys(BlockedKeys):
    """Blocked keys in the table ``blocked`` of the service."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._lock_connection: AsyncConnection | None = None
        self._lock_users = 0
        self._statement_lock = asyncio.Lock()

    async def read_status(self, group: str, envelope: Envelope) -> KeyStatus:
        ((own, last),) = await self._fetch_rows(BLOCK_STATUS, group=group, key=envelope.conversation_id, id=envelope.id)
        return KeyStatus(BlockStatus(own) if own else None, BlockStatus(last) if last else None)

    async def block(self, group: str, envelope: Envelope, status: BlockStatus, *, delay_s: float, error: str) -> None:
        row = {"id": envelope.id, "key": envelope.conversation_id, "message": to_column(envelope)}
        await self._execute(BLOCK, group=group, status=status.value, delay_s=delay_s, error=error, **row)

    async def unblock(self, group: str, envelope: Envelope) -> None:
        await self._execute(UNBLOCK, group=group, key=envelope.conversation_id, id=envelope.id)

    async def find_next_due(self, group: str, key: str) -> Envelope | None:
        rows = await self._fetch_rows(NEXT_DUE, group=group, key=key)
        return next((from_column(message) for message, due in rows if due), None)

    async def list_waiting(self, group: str, key: str) -> Sequence[Envelope]:
        return [from_column(row.message) for row in await self._fetch_rows(WAITING, group=group, key=key)]

    async def list_due_keys(self, limit: int) -> Sequence[tuple[str, str]]:
        return [(row.group_name, row.ordering_key) for row in await self._fetch_rows(DUE_KEYS, limit=limit)]

    @asynccontextmanager
    async def try_lock(self, group: str, key: str) -> AsyncIterator[bool]:
        """Lock the key for the block, and yield whether this worked.

        After a lost session two processes may hold the same key. Then each still handles its messages in order.
        """
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
        """Invalidate a broken connection, because it is unknown which locks it holds; they end with it."""
        session = self._lock_connection
        self._lock_connection = None
        if session is not None:
            with contextlib.suppress(DBAPIError, OSError):
                if invalidate:
                    await session.invalidate()
                await session.close()

    async def count_blocked(self) -> Sequence[tuple[str, str, int, int, float]]:
        """Return (group, status, messages, keys, age of the oldest in seconds) for each group and status."""
        return [tuple(row) for row in await self._fetch_rows(COUNTS)]

    async def _execute(self, statement: TextClause, **values: Any) -> None:
        await self._fetch_rows(statement, **values)

    async def _fetch_rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        async with acquire(self._engine) as connection:
            return await connection.execute_without_begin(statement, values)
