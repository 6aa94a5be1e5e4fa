"""A service's blocked messages, in its own schema."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.blocked_keys import BlockedKeys, BlockStatus, KeyStatus
from prebook.postgres.connection import acquire
from prebook.postgres.message_column import from_column, to_column
from prebook.postgres.purge import purge_statement
from prebook.postgres.state_literals import with_states
from prebook.postgres.statements import statement_factory

KEY_LEASE_S = 15.0
"""Seconds for which a replica that dies keeps a key."""
RENEWAL_INTERVAL_S = 4.0
"""Seconds between two renewals of a lease: a callback to a rider's system may take longer than a lease."""
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
# A lease and not an advisory lock: those belong to all roles of the database, so another service could hold a key for
# ever. A lease ends by itself, so a process that dies keeps no key; leases of dead processes are deleted with others.
LEASE_KEY = text("""
    INSERT INTO key_lease (group_name, ordering_key, held_by, held_until)
    VALUES (:group, :key, :holder, clock_timestamp() + make_interval(secs => :lease_s))
    ON CONFLICT (group_name, ordering_key) DO UPDATE SET held_by = excluded.held_by, held_until = excluded.held_until
        WHERE key_lease.held_until < clock_timestamp()
    RETURNING true""")
RENEW_LEASE = text("""
    UPDATE key_lease SET held_until = clock_timestamp() + make_interval(secs => :lease_s)
    WHERE group_name = :group AND ordering_key = :key AND held_by = :holder""")
END_LEASE = text("""
    DELETE FROM key_lease
    WHERE (group_name = :group AND ordering_key = :key AND held_by = :holder)
        OR held_until < now() - make_interval(secs => :lease_s)""")
COUNTS = text("""
    SELECT group_name, status, count(*), count(DISTINCT ordering_key),
        extract(epoch FROM now() - min(blocked_at))::float FROM blocked GROUP BY group_name, status""")
# Kept until then because a replay of the parked message is recognised by this row.
PURGE_PARKED = purge_statement("blocked", "blocked_at", with_states("status = {PARKED}", BlockStatus))


class SqlBlockedKeys(BlockedKeys):
    """Blocked keys in the table ``blocked`` of the service."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._holder = uuid4().hex

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
        """Lease the key for the block, and yield whether this worked. The lease is renewed while the block runs.

        If it cannot be renewed in time, two processes may hold the same key. Then each still handles its messages in
        order.
        """
        lease = {"group": group, "key": key, "holder": self._holder, "lease_s": KEY_LEASE_S}
        if not await self._fetch_rows(LEASE_KEY, **lease):
            yield False
            return
        renewing = asyncio.create_task(self._keep_renewing(lease))
        try:
            yield True
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with contextlib.suppress(Unreachable):  # the lease then ends by its time
                await self._execute(END_LEASE, **lease)

    async def _keep_renewing(self, lease: Mapping[str, Any]) -> None:
        while True:
            await asyncio.sleep(RENEWAL_INTERVAL_S)
            with contextlib.suppress(Unreachable):
                await self._execute(RENEW_LEASE, **lease)

    async def count_blocked(self) -> Sequence[tuple[str, str, int, int, float]]:
        """Return (group, status, messages, keys, age of the oldest in seconds) for each group and status."""
        return [tuple(row) for row in await self._fetch_rows(COUNTS)]

    async def _execute(self, statement: TextClause, **values: Any) -> None:
        await self._fetch_rows(statement, **values)

    async def _fetch_rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        async with acquire(self._engine) as connection:
            return await connection.execute_without_begin(statement, values)
