"""Statements of the relay and of the reply deadlines on a service's tables."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.deadlines import PendingReplies
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Malformed, error_summary
from prebook.messaging.outbox.abandonment import EXPIRED, UNCONFIRMED
from prebook.messaging.outbox.store import LeasedRow, Outbox, OutboxDepth, OutboxState
from prebook.postgres.connection import acquire
from prebook.postgres.message_column import from_column, sendable_from_column, to_column
from prebook.postgres.statements import statement_factory

log = structlog.get_logger()

_statement = statement_factory(OutboxState)

# See claim_outbox in migrations/ddl/messaging.sql for the order and the plan of a claim. It looks at all waiting rows,
# and never at "seq > last seen": rows do not commit in the order of seq.
CLAIM = text("""
    SELECT * FROM claim_outbox(
        :owner, :limit, make_interval(secs => :lease_s), CAST(:full_routes AS text[]), CAST(:tracked AS bigint[]))""")
# Fenced by claimed_by: a relay whose lease has ended changes nothing about a row that another one has claimed since.
# seqs are sorted, so that width_bucket finds the position of each by a binary search: array_position, which searches
# one by one, took half as long again for 1,000 rows.
MARK_SENT = _statement("""
    UPDATE outbox SET state = {SENT}, sent_at = now(), claimed_until = NULL,
        sent_position = (CAST(:positions AS integer[]))[width_bucket(seq, CAST(:seqs AS bigint[]))]
    WHERE state = {WAITING} AND seq = ANY (CAST(:seqs AS bigint[])) AND claimed_by = :owner""")
RESCHEDULE = _statement("""
    UPDATE outbox SET not_before = now() + make_interval(secs => :delay_s), claimed_until = NULL,
        failures = failures + 1, refusals = CASE WHEN :refused THEN refusals + 1 ELSE 0 END, last_error = :error,
        message = coalesce(CAST(:message AS text), message)
    WHERE state = {WAITING} AND seq = :seq AND claimed_by = :owner""")
# last_error is set by an attempt that failed, and when a lease ends without an outcome. A row whose attempts were all
# refused has certainly not been received.
_UNCONFIRMED = ":cause = :expired AND last_error IS NOT NULL AND (failures = 0 OR failures > refusals)"
RECORD_START = _statement("""
    UPDATE outbox SET message = CAST(:message AS text)
    WHERE state = {WAITING} AND seq = :seq AND claimed_by = :owner""")
ABANDON = _statement(f"""
    UPDATE outbox SET state = :state, abandoned_at = now(), failures = :failures, claimed_until = NULL,
        cause = CASE WHEN {_UNCONFIRMED} THEN CAST(:unconfirmed AS text) ELSE CAST(:cause AS text) END,
        last_error = CASE WHEN {_UNCONFIRMED} THEN 'expired after an attempt: ' || last_error
            ELSE CAST(:error AS text) END
    WHERE state = {{WAITING}} AND seq = :seq AND claimed_by = :owner""")  # noqa: S608 - a constant
# The relay ended, or could not record what became of the row. claim_outbox has the same text for a lease that ran out.
_LEASE_ENDED = "last_error = coalesce(last_error, 'its lease ended without an outcome, so that it may have been sent')"
RELEASE = _statement("""
    UPDATE outbox SET claimed_until = NULL
    WHERE state = {WAITING} AND seq = ANY (CAST(:seqs AS bigint[])) AND claimed_by = :owner""")
# SKIP LOCKED: a locked row is being marked or claimed and so is tracked; waiting for it could deadlock. The locked rows
# are found once, as an array: in a join they may be looked up again for each row of the table.
RELEASE_UNTRACKED = _statement(f"""
    UPDATE outbox SET claimed_until = NULL, {_LEASE_ENDED}
    WHERE state = {{WAITING}} AND seq = ANY (ARRAY(
        SELECT seq FROM outbox
        WHERE state = {{WAITING}} AND claimed_until IS NOT NULL AND claimed_by = :owner
            AND seq <> ALL (CAST(:tracked AS bigint[]))
        FOR UPDATE SKIP LOCKED))""")  # noqa: S608 - a constant
# A relay is alive as long as its LISTEN session, which the server ends with the process. Any role may give its sessions
# any name, so only sessions of the service's own role count.
RELEASE_ORPHANED = _statement(f"""
    UPDATE outbox SET claimed_until = NULL, {_LEASE_ENDED}
    WHERE state = {{WAITING}} AND seq = ANY (ARRAY(
        SELECT seq FROM outbox
        WHERE state = {{WAITING}} AND claimed_until IS NOT NULL AND claimed_by <> :owner
            AND claimed_by NOT IN (
                SELECT application_name FROM pg_stat_activity
                WHERE usename = current_user AND application_name IS NOT NULL)
        FOR UPDATE SKIP LOCKED))""")  # noqa: S608 - a constant
# Each count uses its partial index: sent rows are most of the table, and are not read.
DEPTH = _statement("""
    SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM outbox WHERE state = {WAITING}""")
ABANDONED_COUNTS = _statement("""
    SELECT state, cause, count(*) FROM outbox WHERE state IN ({EXPIRED}, {UNDELIVERABLE}, {DISCARDED}) GROUP BY 1, 2""")
CLAIM_OVERDUE = text("""
    UPDATE pending_reply SET due_at = now() + make_interval(secs => :lease_s)
    WHERE request_id = ANY (ARRAY(
        SELECT request_id FROM pending_reply WHERE due_at <= now() ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING message""")
CLAIM_POLLABLE = text("""
    UPDATE pending_reply SET poll_count = poll_count + 1,
        poll_at = now() + make_interval(secs => :poll_interval_s * power(2, least(poll_count, 4)))
    WHERE request_id = ANY (ARRAY(
        SELECT request_id FROM pending_reply WHERE poll_at <= now() ORDER BY poll_at
        LIMIT :limit FOR UPDATE SKIP LOCKED))
    RETURNING message""")


class SqlOutbox(Outbox, PendingReplies):
    """Outbox and pending replies of one service. Every call is one statement in its own transaction."""

    def __init__(self, engine: AsyncEngine, owner: str) -> None:
        """``owner`` is also the application_name of a database session that lives as long as the relay."""
        self.owner = owner
        self._engine = engine

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        values = {"owner": self.owner, "limit": limit, "lease_s": lease_s}
        rows = await self._fetch_rows(CLAIM, **values, full_routes=list(full_routes), tracked=list(tracked))
        claimed, unsendable = _decode_claimed(rows)
        for row, error in unsendable:
            await self._write_abandoned(row, OutboxState.UNDELIVERABLE, error.cause, error_summary(error))
        return sorted(claimed, key=lambda row: row.seq)

    async def release(self, seqs: Sequence[int]) -> None:
        await self._execute(RELEASE, seqs=list(seqs), owner=self.owner)

    async def release_untracked(self, tracked: Collection[int]) -> None:
        await self._execute(RELEASE_UNTRACKED, owner=self.owner, tracked=list(tracked))

    async def release_orphaned(self) -> None:
        """Make rows that a dead relay has claimed due at once, without waiting for the end of their lease."""
        await self._execute(RELEASE_ORPHANED, owner=self.owner)

    async def mark_sent(self, seqs: Collection[int]) -> None:
        confirmed = sorted((seq, position) for position, seq in enumerate(seqs, 1))
        await self._execute(
            MARK_SENT,
            seqs=[seq for seq, _ in confirmed],
            positions=[position for _, position in confirmed],
            owner=self.owner,
        )

    async def record_start(self, row: LeasedRow, message: Envelope) -> None:
        await self._execute(RECORD_START, seq=row.seq, message=to_column(message), owner=self.owner)

    async def reschedule(
        self, row: LeasedRow, error: str, *, delay_s: float, refused: bool, message: Envelope | None = None
    ) -> None:
        values = {"seq": row.seq, "error": error, "delay_s": delay_s, "refused": refused}
        column = to_column(message) if message else None
        await self._execute(RESCHEDULE, **values, message=column, owner=self.owner)

    async def abandon(self, row: LeasedRow, state: str, cause: str, error: str) -> None:
        await self._write_abandoned(row, state, cause, error)

    async def read_depth(self) -> OutboxDepth:
        """Return the number of waiting rows, the age of the oldest in seconds, and the abandoned rows by cause."""
        waiting, oldest_s = (await self._fetch_rows(DEPTH))[0]
        ended = await self._fetch_rows(ABANDONED_COUNTS)
        return OutboxDepth(waiting, float(oldest_s), {(state, cause): rows for state, cause, rows in ended})

    async def claim_overdue(self, limit: int, *, lease_s: float) -> Sequence[Envelope]:
        return list(_decode_requests(await self._fetch_rows(CLAIM_OVERDUE, limit=limit, lease_s=lease_s)))

    async def claim_pollable(self, limit: int, *, poll_interval_s: float) -> Sequence[Envelope]:
        return list(
            _decode_requests(await self._fetch_rows(CLAIM_POLLABLE, limit=limit, poll_interval_s=poll_interval_s))
        )

    async def _write_abandoned(self, row: Any, state: str, cause: str, error: str) -> None:
        values = {"seq": row.seq, "failures": row.failures, "state": state, "cause": cause, "error": error}
        await self._execute(ABANDON, **values, owner=self.owner, expired=EXPIRED, unconfirmed=UNCONFIRMED)

    async def _execute(self, statement: Any, **values: Any) -> None:
        await self._fetch_rows(statement, **values)

    async def _fetch_rows(self, statement: Any, **values: Any) -> Sequence[Any]:
        async with acquire(self._engine) as connection:
            return await connection.execute_without_begin(statement, values)


def _decode_requests(rows: Sequence[Any]) -> Iterator[Envelope]:
    """Skip requests that another version has written: they stay, and are claimed again after their lease."""
    for row in rows:
        try:
            yield from_column(row.message)
        except Malformed as error:
            log.warning("pending reply unreadable", error=error_summary(error))


def _decode_claimed(rows: Sequence[Any]) -> tuple[list[LeasedRow], list[tuple[Any, Malformed]]]:
    """Return the rows that can be sent, and those that no receiver could read: these must not stop the others."""
    claimed: list[LeasedRow] = []
    unsendable: list[tuple[Any, Malformed]] = []
    for row in rows:
        try:
            envelope = sendable_from_column(row.message)
        except Malformed as error:
            unsendable.append((row, error))
        else:
            claimed.append(LeasedRow(row.seq, row.route, envelope, row.failures, row.ordering_key, row.refusals, True))
    return claimed, unsendable
