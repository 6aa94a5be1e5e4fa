"""The relay's and the deadlines' side of a service's tables."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.codec import Malformed
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import error_summary
from prebook.messaging.outbox.store import UNDELIVERABLE, LeasedRow, OutboxDepth
from prebook.postgres.connection import acquire
from prebook.postgres.message_column import from_column, sendable_from_column

log = structlog.get_logger()
# Never "id > last": rows commit out of order. The function is in migrations/messaging_v9.py.
CLAIM = text("""
    SELECT * FROM claim_outbox(
        :owner, :limit, make_interval(secs => :lease_s), CAST(:full_lanes AS text[]), CAST(:known AS bigint[]))""")
# Fenced: a relay whose lease has ended, and whose row another one holds, changes nothing about it.
MARK_SENT = text("""
    UPDATE outbox SET state = 'sent', sent_at = now(), claimed_until = NULL
    WHERE state = 'waiting' AND seq = ANY (CAST(:seqs AS bigint[])) AND claimed_by = :owner""")
RESCHEDULE = text("""
    UPDATE outbox SET not_before = now() + make_interval(secs => :pause_s), claimed_until = NULL,
        failures = failures + 1, refusals = CASE WHEN :refused THEN refusals + 1 ELSE 0 END, last_error = :error
    WHERE state = 'waiting' AND seq = :seq AND claimed_by = :owner""")
ABANDON = text("""
    UPDATE outbox SET state = :state, cause = :cause, ended_at = now(), failures = :failures, claimed_until = NULL,
        last_error = :error
    WHERE state = 'waiting' AND seq = :seq AND claimed_by = :owner""")
RELEASE = text("""
    UPDATE outbox SET claimed_until = NULL
    WHERE state = 'waiting' AND seq = ANY (CAST(:seqs AS bigint[])) AND claimed_by = :owner""")
# Rows that are being marked or claimed are known to whoever does it; waiting for them could end in a circle. What is
# locked is found as an array, once: joined, it may be looked for again for each row of the table.
RELEASE_UNTRACKED = text("""
    UPDATE outbox SET claimed_until = NULL
    WHERE state = 'waiting' AND seq = ANY (ARRAY(
        SELECT seq FROM outbox
        WHERE state = 'waiting' AND claimed_until IS NOT NULL AND claimed_by = :owner
            AND seq <> ALL (CAST(:but AS bigint[]))
        FOR UPDATE SKIP LOCKED))""")
# A relay lives as long as the session in which it listens; the server ends that with the process.
RELEASE_ORPHANED = text("""
    UPDATE outbox SET claimed_until = NULL
    WHERE state = 'waiting' AND seq = ANY (ARRAY(
        SELECT seq FROM outbox
        WHERE state = 'waiting' AND claimed_until IS NOT NULL AND claimed_by <> :owner
            AND claimed_by NOT IN (SELECT application_name FROM pg_stat_activity WHERE application_name IS NOT NULL)
        FOR UPDATE SKIP LOCKED))""")
# Each by its partial index: what was sent is most of the table, and is not looked at.
DEPTH = text("""
    SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM outbox WHERE state = 'waiting'""")
ABANDONED_COUNTS = text("""
    SELECT state, cause, count(*) FROM outbox WHERE state IN ('expired', 'undeliverable', 'discarded') GROUP BY 1, 2""")
CLAIM_OVERDUE = text("""
    UPDATE awaited SET due_at = now() + make_interval(secs => :lease_s)
    WHERE request_id = ANY (ARRAY(
        SELECT request_id FROM awaited WHERE due_at <= now() ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING wire""")
CLAIM_POLLABLE = text("""
    UPDATE awaited SET poll_at = now() + make_interval(secs => :again_s * power(2, least(polls, 4))), polls = polls + 1
    WHERE request_id = ANY (ARRAY(
        SELECT request_id FROM awaited WHERE poll_at <= now() ORDER BY poll_at LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING wire""")


class SqlOutbox:
    """Implements messaging.outbox.Outbox and Expectations; every call is one statement, and its own transaction."""

    def __init__(self, engine: AsyncEngine, owner: str) -> None:
        """``owner`` is also the application_name of a session that lives as long as the relay does."""
        self.owner, self._engine = owner, engine

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        values = {"owner": self.owner, "limit": limit, "lease_s": lease_s}
        rows = await self._fetch_rows(CLAIM, **values, full_lanes=list(full_routes), known=list(tracked))
        claimed, unsendable = _decode_claimed(rows)
        for row, error in unsendable:
            await self._write_abandoned(row, UNDELIVERABLE, error.cause, error_summary(error))
        return sorted(claimed, key=lambda row: row.seq)

    async def release(self, seqs: Sequence[int]) -> None:
        await self._execute(RELEASE, seqs=list(seqs), owner=self.owner)

    async def release_untracked(self, tracked: Collection[int]) -> None:
        await self._execute(RELEASE_UNTRACKED, owner=self.owner, but=list(tracked))

    async def release_orphaned(self) -> None:
        """What a relay that is gone has left claimed is due at once, and need not wait for its lease."""
        await self._execute(RELEASE_ORPHANED, owner=self.owner)

    async def mark_sent(self, seqs: Collection[int]) -> None:
        await self._execute(MARK_SENT, seqs=list(seqs), owner=self.owner)

    async def reschedule(self, row: LeasedRow, error: str, *, delay_s: float, refused: bool) -> None:
        values = {"seq": row.seq, "error": error, "pause_s": delay_s, "refused": refused}
        await self._execute(RESCHEDULE, **values, owner=self.owner)

    async def abandon(self, row: LeasedRow, state: str, cause: str, error: str) -> None:
        await self._write_abandoned(row, state, cause, error)

    async def read_depth(self) -> OutboxDepth:
        waiting, oldest_s = (await self._fetch_rows(DEPTH))[0]
        ended = await self._fetch_rows(ABANDONED_COUNTS)
        return OutboxDepth(waiting, float(oldest_s), {(state, cause): rows for state, cause, rows in ended})

    async def claim_overdue(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        return list(_decode_requests(await self._fetch_rows(CLAIM_OVERDUE, limit=limit, lease_s=lease_s)))

    async def claim_pollable(self, limit: int, *, poll_interval_s: float) -> Sequence[Envelope]:
        return list(_decode_requests(await self._fetch_rows(CLAIM_POLLABLE, limit=limit, again_s=poll_interval_s)))

    async def _write_abandoned(self, row: Any, state: str, cause: str, error: str) -> None:
        values = {"seq": row.seq, "failures": row.failures, "state": state, "cause": cause, "error": error}
        await self._execute(ABANDON, **values, owner=self.owner)

    async def _execute(self, statement: Any, **values: Any) -> None:
        await self._fetch_rows(statement, **values)

    async def _fetch_rows(self, statement: Any, **values: Any) -> Sequence[Any]:
        async with acquire(self._engine) as connection:
            return await connection.execute_without_begin(statement, values)


def _decode_requests(rows: Sequence[Any]) -> Iterator[Envelope]:
    """Without what another version has written: it stays, and comes again after its lease."""
    for r in rows:
        try:
            yield from_column(r.wire)
        except Malformed as error:
            log.warning("awaited, and not understood", error=error_summary(error))


def _decode_claimed(rows: Sequence[Any]) -> tuple[list[LeasedRow], list[tuple[Any, Malformed]]]:
    """What can be sent, and what no receiver could take: one such row must not stop all others."""
    claimed: list[LeasedRow] = []
    unsendable: list[tuple[Any, Malformed]] = []
    for r in rows:
        try:
            claimed.append(LeasedRow(r.seq, r.lane, sendable_from_column(r.wire), r.failures, r.order_key, r.refusals))
        except Malformed as error:
            unsendable.append((r, error))
    return claimed, unsendable
