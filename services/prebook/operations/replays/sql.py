"""Storage of the replays in PostgreSQL.

Every change of a redelivery names the state that it changes from. Two processes that run one replay, because the first
was slow and its lease ended, therefore cannot undo each other's work.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import TextClause, text

from prebook.contracts.dead_letters import DeadLetterFilter, DeadLetterSelection, DeadLetterState
from prebook.contracts.replays import MessagesByReason, RedeliveryState, ReplayState, ReplayView
from prebook.messaging.headers import (
    CONVERSATION_ID_HEADER,
    EXCHANGE_HEADER,
    HISTORY_HEADER,
    MESSAGE_ID_HEADER,
    ROUTING_KEY_HEADER,
)
from prebook.operations.dead_letters.sql import selection_sql, selection_values
from prebook.operations.replays.eligibility import ReplayCandidate, ordering_key_of
from prebook.operations.replays.redelivery import DeliveryOutcome, Redelivery
from prebook.operations.replays.store import LeasedReplay, NewReplay
from prebook.postgres.statements import statement_factory
from prebook.postgres.unit_of_work import SqlUnitOfWork

_statement = statement_factory(DeadLetterState, RedeliveryState, ReplayState)

CREATE_REPLAY = text("""
    INSERT INTO replay (id, ineligible, rate_per_s, keep_going, force, operator)
    VALUES (:id, CAST(:ineligible AS jsonb), :rate_per_s, :keep_going, :force, :operator)""")
CREATE_REDELIVERIES = _statement("""
    WITH created AS (
        INSERT INTO redelivery (replay_id, dead_letter_id, position, ordering_key, predecessor_id, queue, message_id,
            version, beyond_retention)
        SELECT :id, chosen.dead_letter_id, chosen.position, chosen.ordering_key,
            lag(chosen.dead_letter_id) OVER (PARTITION BY chosen.ordering_key ORDER BY chosen.position),
            chosen.queue, chosen.message_id, chosen.version, chosen.beyond_retention
        FROM unnest(CAST(:dead_letter_ids AS bigint[]), CAST(:ordering_keys AS text[]), CAST(:queues AS text[]),
            CAST(:message_ids AS text[]), CAST(:versions AS int[]), CAST(:beyond_retention AS boolean[]))
            WITH ORDINALITY
            AS chosen (dead_letter_id, ordering_key, queue, message_id, version, beyond_retention, position)
        RETURNING dead_letter_id)
    UPDATE dead_letter SET state = {REPLAYING} FROM created WHERE dead_letter.id = created.dead_letter_id""")


def _select_views(chosen: str) -> TextClause:
    return _statement(f"""
    SELECT r.id, r.state, r.reason, r.operator, r.created_at, r.ended_at, r.batches, r.ineligible,
        coalesce(jsonb_object_agg(p.state, p.messages) FILTER (WHERE p.state IS NOT NULL), '{{}}') AS counts,
        CAST(coalesce(sum(p.duplicates), 0) AS int) AS duplicates,
        CAST(coalesce(sum(p.beyond_retention), 0) AS int) AS beyond_retention,
        (SELECT coalesce(jsonb_agg(jsonb_build_object('reason', error, 'messages', messages, 'ids', ids)), '[]')
            FROM (SELECT error, count(*) AS messages, (array_agg(dead_letter_id ORDER BY position))[1:100] AS ids
                FROM redelivery WHERE replay_id = r.id AND state = {{REFUSED}}
                GROUP BY error ORDER BY count(*) DESC, error LIMIT 20) refused) AS refused
    FROM (SELECT * FROM replay {chosen}) r LEFT JOIN LATERAL (
        SELECT state, count(*) AS messages, count(*) FILTER (WHERE duplicate) AS duplicates,
            count(*) FILTER (WHERE beyond_retention AND dispatched_at IS NOT NULL) AS beyond_retention
        FROM redelivery WHERE replay_id = r.id GROUP BY state) p ON true
    GROUP BY r.id, r.state, r.reason, r.operator, r.created_at, r.ended_at, r.batches, r.ineligible
    ORDER BY r.created_at DESC""")  # noqa: S608 - constants


FIRST_TARGET = f"""
    CASE WHEN v.number IS NULL THEN d.exchange ELSE coalesce(v.headers ->> '{EXCHANGE_HEADER}', '') END AS exchange,
    CASE WHEN v.number IS NULL THEN d.routing_key ELSE coalesce(v.headers ->> '{ROUTING_KEY_HEADER}', '') END
        AS routing_key"""
"""First target of a dead letter, or of its version ``v``: an operator may edit the headers that name it."""
HISTORY = f"jsonb_strip_nulls(jsonb_build_object('{HISTORY_HEADER}', d.headers -> '{HISTORY_HEADER}'))"
"""History of a dead letter up to its last failure, also for a version that was edited before."""
FIND_REPLAY = _select_views("WHERE id = :id")
LIST_REPLAYS = _select_views("ORDER BY created_at DESC LIMIT :limit")

LOCK_OPEN_REPLAY = text("SELECT 1 FROM replay WHERE id = :id AND ended_at IS NULL FOR UPDATE")
CLAIM_REPLAYS = _statement("""
    WITH mine AS (
        UPDATE replay SET leased_by = :leased_by, leased_until = now() + make_interval(secs => :lease_s)
        WHERE ended_at IS NULL AND (leased_by = :leased_by OR leased_until < now())
        RETURNING id, state, outcome, rate_per_s, keep_going, cardinality(batches) AS batches,
            CAST(extract(epoch FROM now() - created_at) AS float) AS running_s)
    SELECT mine.*, p.* FROM mine, LATERAL (
        SELECT count(*) FILTER (WHERE state = {REQUESTED}) AS requested,
            count(*) FILTER (WHERE state = {IN_FLIGHT}) AS in_flight,
            count(dispatched_at) AS sent, count(*) FILTER (WHERE same_cause) AS same_cause_failures
        FROM redelivery WHERE replay_id = mine.id) p""")
# The planner has no statistics for new rows and may join the table with itself as if it were empty. The statement
# therefore finds each predecessor by its primary key, and the chosen rows by their physical positions.
DISPATCH_NEXT = _statement("""
    WITH due AS MATERIALIZED (
        SELECT next.ctid FROM redelivery next
        WHERE next.replay_id = :id AND next.state = {REQUESTED} AND (next.predecessor_id IS NULL OR (
            SELECT earlier.state FROM redelivery earlier
            WHERE earlier.replay_id = :id AND earlier.dead_letter_id = next.predecessor_id) = {RESOLVED})
        ORDER BY next.position LIMIT :limit FOR UPDATE OF next)
    UPDATE redelivery rd SET state = {IN_FLIGHT}, dispatched_at = now()
    WHERE rd.ctid = ANY (ARRAY (SELECT ctid FROM due)) AND rd.state = {REQUESTED}
        AND EXISTS (SELECT FROM replay WHERE id = :id AND state = {RUNNING})
    RETURNING rd.dead_letter_id""")
APPEND_BATCH = text("UPDATE replay SET batches = batches || CAST(:size AS int) WHERE id = :id")
LIST_IN_FLIGHT = _statement(f"""
    SELECT rd.replay_id, rd.dead_letter_id, rd.queue, rd.message_id, {FIRST_TARGET},
        rd.sent_at IS NOT NULL AS is_sent,
        coalesce(v.headers, d.headers) || {HISTORY} AS headers, coalesce(v.payload, d.payload) AS payload
    FROM redelivery rd JOIN dead_letter d ON d.id = rd.dead_letter_id
        LEFT JOIN dead_letter_version v ON v.dead_letter_id = rd.dead_letter_id AND v.number = rd.version
    WHERE rd.replay_id = :id AND rd.state = {{IN_FLIGHT}} ORDER BY rd.position""")  # noqa: S608 - constants
MARK_SENT = _statement("""
    UPDATE redelivery SET sent_at = now()
    WHERE replay_id = :id AND dead_letter_id = ANY (CAST(:dead_letter_ids AS bigint[])) AND state = {IN_FLIGHT}""")
SETTLE = _statement("""
    WITH settled AS (
        UPDATE redelivery rd SET state = o.state, settled_at = now(), received_at = o.received_at, error = o.error,
            duplicate = coalesce(o.received_at < rd.dispatched_at, false)
        FROM unnest(CAST(:dead_letter_ids AS bigint[]), CAST(:states AS text[]),
            CAST(:received_at AS timestamptz[]), CAST(:errors AS text[]))
            AS o (dead_letter_id, state, received_at, error)
        WHERE rd.replay_id = :id AND rd.dead_letter_id = o.dead_letter_id AND rd.state = {IN_FLIGHT}
        RETURNING rd.dead_letter_id, rd.state)
    UPDATE dead_letter SET state = CASE settled.state WHEN {RESOLVED} THEN {RESOLVED} ELSE {PARKED} END
    FROM settled WHERE dead_letter.id = settled.dead_letter_id""")
MARK_UNCONFIRMED = _statement("""
    WITH unconfirmed AS (
        UPDATE redelivery SET state = {UNCONFIRMED}, settled_at = now()
        WHERE replay_id = :id AND state = {IN_FLIGHT}
            AND coalesce(sent_at, dispatched_at) < now() - make_interval(secs => :older_than_s)
        RETURNING dead_letter_id)
    UPDATE dead_letter SET state = {PARKED} FROM unconfirmed WHERE dead_letter.id = unconfirmed.dead_letter_id
    RETURNING dead_letter.id""")
BLOCK_SUCCESSORS = _statement("""
    WITH successors AS (
        UPDATE redelivery next SET state = {BLOCKED}, settled_at = now()
        FROM redelivery earlier
        WHERE earlier.replay_id = :id AND earlier.state IN ({FAILED_AGAIN}, {REFUSED}, {UNCONFIRMED})
            AND next.replay_id = :id AND next.ordering_key = earlier.ordering_key AND next.position > earlier.position
            AND next.state = {REQUESTED} AND EXISTS (
                SELECT FROM redelivery
                WHERE replay_id = :id AND state IN ({FAILED_AGAIN}, {REFUSED}, {UNCONFIRMED}))
        RETURNING next.dead_letter_id)
    UPDATE dead_letter SET state = {PARKED} FROM successors WHERE dead_letter.id = successors.dead_letter_id""")
STOP_REPLAY = _statement("""
    WITH stopped AS (
        UPDATE replay SET state = {DRAINING}, outcome = :outcome, reason = :reason
        WHERE id = :id AND state = {RUNNING} RETURNING id),
    not_sent AS (
        UPDATE redelivery SET state = {CANCELLED}, settled_at = now() FROM stopped
        WHERE replay_id = stopped.id AND (redelivery.state = {REQUESTED}
            OR redelivery.state = {IN_FLIGHT} AND redelivery.sent_at IS NULL)
        RETURNING dead_letter_id)
    UPDATE dead_letter SET state = {PARKED} FROM not_sent WHERE dead_letter.id = not_sent.dead_letter_id""")
END_REPLAY = text("UPDATE replay SET state = :state, ended_at = now() WHERE id = :id AND ended_at IS NULL")


def _select_candidates(where: DeadLetterFilter | None) -> TextClause:
    return _statement(f"""
        SELECT d.id, d.state, d.queue, d.version, coalesce(d.occurred_at, d.first_failed_at) AS occurred_at,
            CASE WHEN d.version = 0 THEN d.message_id ELSE coalesce(v.headers ->> '{MESSAGE_ID_HEADER}', '') END
                AS message_id,
            CASE WHEN d.version = 0 THEN d.conversation_id
                ELSE coalesce(v.headers ->> '{CONVERSATION_ID_HEADER}', '') END AS conversation_id,
            octet_length(d.payload) = d.payload_bytes AS is_complete, d.cause, {FIRST_TARGET},
            coalesce(octet_length(v.payload), d.payload_bytes) AS payload_bytes
        FROM dead_letter d LEFT JOIN dead_letter_version v ON v.dead_letter_id = d.id AND v.number = d.version
        WHERE {selection_sql(where, "{PARKED}")} ORDER BY d.id FOR UPDATE OF d""")  # noqa: S608 - constants


class ReplaySql(SqlUnitOfWork):
    """Implement ReplayWork."""

    async def lock_candidates(self, selection: DeadLetterSelection) -> Sequence[ReplayCandidate]:
        rows = await self._fetch_rows(_select_candidates(selection.where), **selection_values(selection))
        return [ReplayCandidate(**{**row, "state": DeadLetterState(row["state"])}) for row in rows]

    async def create_replay(self, new: NewReplay) -> None:
        options = {
            "rate_per_s": new.rate_per_s,
            "keep_going": new.keep_going,
            "force": new.force,
            "operator": new.operator,
        }
        await self._execute(CREATE_REPLAY, id=new.id, ineligible=new.ineligible.decode(), **options)
        await self._execute(
            CREATE_REDELIVERIES,
            id=new.id,
            dead_letter_ids=[c.id for c in new.candidates],
            ordering_keys=[ordering_key_of(c) for c in new.candidates],
            queues=[c.queue for c in new.candidates],
            message_ids=[c.message_id for c in new.candidates],
            versions=[c.version for c in new.candidates],
            beyond_retention=[c.id in new.beyond_retention for c in new.candidates],
        )

    async def find_replay(self, replay_id: str) -> ReplayView | None:
        rows = await self._fetch_rows(FIND_REPLAY, id=replay_id)
        return _view(rows[0]) if rows else None

    async def list_replays(self, limit: int) -> Sequence[ReplayView]:
        return [_view(row) for row in await self._fetch_rows(LIST_REPLAYS, limit=limit)]

    async def cancel_replay(self, replay_id: str, *, operator: str) -> bool:
        if not await self._fetch_scalar(LOCK_OPEN_REPLAY, id=replay_id):
            return False
        await self.stop_replay(replay_id, ReplayState.CANCELLED, f"cancelled by {operator}")
        return True

    async def claim_replays(self, leased_by: str, lease_s: float) -> Sequence[LeasedReplay]:
        rows = await self._fetch_rows(CLAIM_REPLAYS, leased_by=leased_by, lease_s=lease_s)
        return [_leased_replay(row) for row in rows]

    async def dispatch_next(self, replay_id: str, limit: int) -> int:
        dispatched = len(await self._fetch_rows(DISPATCH_NEXT, id=replay_id, limit=limit))
        if dispatched:
            await self._execute(APPEND_BATCH, id=replay_id, size=dispatched)
        return dispatched

    async def list_in_flight(self, replay_id: str) -> Sequence[Redelivery]:
        rows = await self._fetch_rows(LIST_IN_FLIGHT, id=replay_id)
        return [Redelivery(**row) for row in rows]

    async def mark_sent(self, replay_id: str, dead_letter_ids: Sequence[int]) -> None:
        await self._execute(MARK_SENT, id=replay_id, dead_letter_ids=list(dead_letter_ids))

    async def settle(self, replay_id: str, outcomes: Sequence[DeliveryOutcome]) -> None:
        await self._execute(
            SETTLE,
            id=replay_id,
            dead_letter_ids=[outcome.dead_letter_id for outcome in outcomes],
            states=[outcome.state.value for outcome in outcomes],
            received_at=[outcome.received_at for outcome in outcomes],
            errors=[outcome.error for outcome in outcomes],
        )

    async def mark_unconfirmed(self, replay_id: str, older_than_s: float) -> int:
        return len(await self._fetch_rows(MARK_UNCONFIRMED, id=replay_id, older_than_s=older_than_s))

    async def block_successors(self, replay_id: str) -> None:
        await self._execute(BLOCK_SUCCESSORS, id=replay_id)

    async def stop_replay(self, replay_id: str, outcome: ReplayState, reason: str) -> None:
        await self._execute(STOP_REPLAY, id=replay_id, outcome=outcome.value, reason=reason)

    async def end_replay(self, replay_id: str, state: ReplayState) -> None:
        await self._execute(END_REPLAY, id=replay_id, state=state.value)


def _view(row: Mapping[Any, Any]) -> ReplayView:
    counts = row["counts"]
    return ReplayView(
        **{
            **row,
            "state": ReplayState(row["state"]),
            "counts": {state: counts[state] for state in RedeliveryState if state in counts},
            "messages": sum(counts.values()),
            "batches": tuple(row["batches"]),
            "ineligible": msgspec.convert(row["ineligible"], tuple[MessagesByReason, ...]),
            "refused": msgspec.convert(row["refused"], tuple[MessagesByReason, ...]),
        }
    )


def _leased_replay(row: Mapping[Any, Any]) -> LeasedReplay:
    outcome = ReplayState(row["outcome"]) if row["outcome"] else None
    return LeasedReplay(**{**row, "state": ReplayState(row["state"]), "outcome": outcome})
