"""What is said to the database about replays.

Every change of an item names the state that it changes from: two processes that act on one replay, because the
first was slow and its lease ran out, cannot undo each other's work.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import TextClause, text

from prebook.contracts.dead_letters import DeadLetterFilter, DeadLetterSelection, DeadLetterState
from prebook.contracts.replays import IneligibleMessages, RedeliveryState, ReplayState, ReplayView
from prebook.operations.dead_letters.sql import FILTERS, filter_values
from prebook.operations.replays import sql as statements
from prebook.operations.replays.eligibility import ReplayCandidate, ordering_key_of
from prebook.operations.store import DeliveryOutcome, LeasedReplay, NewReplay, Redelivery
from prebook.postgres.unit_of_work import SqlUnitOfWork

CREATE_REPLAY = text("""
    INSERT INTO replay (id, refused, rate_per_s, keep_going, force)
    VALUES (:id, CAST(:refused AS jsonb), :rate_per_s, :keep_going, :force)""")
CREATE_ITEMS = text("""
    WITH taken AS (
        INSERT INTO replay_item (replay_id, parked_id, position, lane, behind, queue, message_id, version, aged)
        SELECT :id, item.parked_id, item.position, item.lane,
            lag(item.parked_id) OVER (PARTITION BY item.lane ORDER BY item.position),
            item.queue, item.message_id, item.version, item.aged
        FROM unnest(CAST(:parked_ids AS bigint[]), CAST(:lanes AS text[]), CAST(:queues AS text[]),
            CAST(:message_ids AS text[]), CAST(:versions AS int[]), CAST(:aged AS boolean[]))
            WITH ORDINALITY AS item (parked_id, lane, queue, message_id, version, aged, position)
        RETURNING parked_id)
    UPDATE parked SET state = 'replaying' FROM taken WHERE parked.id = taken.parked_id""")

REPLAY_VIEW = """
    SELECT r.id, r.state, r.reason, r.created_at, r.ended_at, r.batches, r.refused,
        coalesce(jsonb_object_agg(i.state, i.messages) FILTER (WHERE i.state IS NOT NULL), '{{}}') AS counts,
        CAST(coalesce(sum(i.duplicates), 0) AS int) AS duplicates,
        CAST(coalesce(sum(i.aged), 0) AS int) AS beyond_retention
    FROM (SELECT * FROM replay {}) r LEFT JOIN LATERAL (
        SELECT state, count(*) AS messages, count(*) FILTER (WHERE duplicate) AS duplicates,
            count(*) FILTER (WHERE aged AND picked_at IS NOT NULL) AS aged
        FROM replay_item WHERE replay_id = r.id GROUP BY state) i ON true
    GROUP BY r.id, r.state, r.reason, r.created_at, r.ended_at, r.batches, r.refused
    ORDER BY r.created_at DESC"""
FIND_REPLAY = text(REPLAY_VIEW.format("WHERE id = :id"))
LIST_REPLAYS = text(REPLAY_VIEW.format("ORDER BY created_at DESC LIMIT :limit"))

LOCK_OPEN_REPLAY = text("SELECT 1 FROM replay WHERE id = :id AND ended_at IS NULL FOR UPDATE")
CLAIM_REPLAYS = text("""
    WITH mine AS (
        UPDATE replay SET holder = :holder, leased_until = now() + make_interval(secs => :lease_s)
        WHERE ended_at IS NULL AND (holder = :holder OR leased_until < now())
        RETURNING id, state, outcome, rate_per_s, keep_going, cardinality(batches) AS batches,
            CAST(extract(epoch FROM now() - created_at) AS float) AS running_s)
    SELECT mine.*, i.* FROM mine, LATERAL (
        SELECT count(*) FILTER (WHERE state = 'requested') AS requested,
            count(*) FILTER (WHERE state = 'in_flight') AS in_flight,
            count(picked_at) AS sent, count(*) FILTER (WHERE same_cause) AS same_cause
        FROM replay_item WHERE replay_id = mine.id) i""")
# New rows have no statistics yet, and a join of this table with itself may be planned as if it were empty: so the one
# before is looked up by its primary key, and the chosen rows by where they are.
DISPATCH_NEXT = text("""
    WITH due AS MATERIALIZED (
        SELECT next.ctid FROM replay_item next
        WHERE next.replay_id = :id AND next.state = 'requested' AND (next.behind IS NULL OR (
            SELECT before.state FROM replay_item before
            WHERE before.replay_id = :id AND before.parked_id = next.behind) = 'resolved')
        ORDER BY next.position LIMIT :limit FOR UPDATE OF next)
    UPDATE replay_item i SET state = 'in_flight', picked_at = now()
    WHERE i.ctid = ANY (ARRAY (SELECT ctid FROM due)) AND i.state = 'requested'
        AND EXISTS (SELECT FROM replay WHERE id = :id AND state = 'running')
    RETURNING i.parked_id""")
APPEND_BATCH = text("UPDATE replay SET batches = batches || CAST(:size AS int) WHERE id = :id")
LIST_IN_FLIGHT = text("""
    SELECT i.replay_id, i.parked_id, i.queue, p.exchange, p.key, i.message_id, i.sent_at IS NOT NULL AS is_sent,
        coalesce(v.headers, p.headers) AS headers, coalesce(v.payload, p.payload) AS payload
    FROM replay_item i JOIN parked p ON p.id = i.parked_id
        LEFT JOIN version v ON v.parked_id = i.parked_id AND v.number = i.version
    WHERE i.replay_id = :id AND i.state = 'in_flight' ORDER BY i.position""")
MARK_SENT = text("""
    UPDATE replay_item SET sent_at = now()
    WHERE replay_id = :id AND parked_id = ANY (CAST(:parked_ids AS bigint[])) AND state = 'in_flight'""")
SETTLE = text("""
    WITH landed AS (
        UPDATE replay_item i SET state = l.state, settled_at = now(), admitted_at = l.admitted_at, error = l.error,
            duplicate = coalesce(l.admitted_at < i.picked_at, false)
        FROM unnest(CAST(:parked_ids AS bigint[]), CAST(:states AS text[]), CAST(:admitted AS timestamptz[]),
            CAST(:errors AS text[])) AS l (parked_id, state, admitted_at, error)
        WHERE i.replay_id = :id AND i.parked_id = l.parked_id AND i.state = 'in_flight'
        RETURNING i.parked_id, i.state)
    UPDATE parked SET state = CASE landed.state WHEN 'resolved' THEN 'resolved' ELSE 'parked' END
    FROM landed WHERE parked.id = landed.parked_id""")
MARK_UNCONFIRMED = text("""
    WITH lost AS (
        UPDATE replay_item SET state = 'unconfirmed', settled_at = now()
        WHERE replay_id = :id AND state = 'in_flight' AND sent_at < now() - make_interval(secs => :older_than_s)
        RETURNING parked_id)
    UPDATE parked SET state = 'parked' FROM lost WHERE parked.id = lost.parked_id RETURNING parked.id""")
BLOCK_SUCCESSORS = text("""
    WITH held AS (
        UPDATE replay_item next SET state = 'held', settled_at = now()
        FROM replay_item before
        WHERE before.replay_id = :id AND before.state IN ('failed_again', 'refused', 'unconfirmed')
            AND next.replay_id = :id AND next.lane = before.lane AND next.position > before.position
            AND next.state = 'requested' AND EXISTS (
                SELECT FROM replay_item WHERE replay_id = :id AND state IN ('failed_again', 'refused', 'unconfirmed'))
        RETURNING next.parked_id)
    UPDATE parked SET state = 'parked' FROM held WHERE parked.id = held.parked_id""")
STOP_REPLAY = text("""
    WITH stopped AS (
        UPDATE replay SET state = 'draining', outcome = :outcome, reason = :reason
        WHERE id = :id AND state = 'running' RETURNING id),
    left_out AS (
        UPDATE replay_item SET state = 'cancelled', settled_at = now() FROM stopped
        WHERE replay_id = stopped.id AND replay_item.state = 'requested' RETURNING parked_id)
    UPDATE parked SET state = 'parked' FROM left_out WHERE parked.id = left_out.parked_id""")
END_REPLAY = text("UPDATE replay SET state = :state, ended_at = now() WHERE id = :id AND ended_at IS NULL")


def lock_candidates(where: DeadLetterFilter | None) -> TextClause:
    filters = "".join(f" AND {FILTERS[name]}" for name in filter_values(where)) if where else ""
    chosen = "p.id = ANY (CAST(:ids AS bigint[]))" if where is None else f"p.state = 'parked' {filters}"
    return text(f"""
        SELECT p.id, p.state, p.queue, p.version, coalesce(p.said_at, p.first_failed_at) AS said_at,
            CASE WHEN p.version = 0 THEN p.message_id ELSE coalesce(v.headers ->> 'ce-id', '') END AS message_id,
            CASE WHEN p.version = 0 THEN p.conversation ELSE coalesce(v.headers ->> 'ce-subject', '') END
                AS conversation,
            octet_length(p.payload) = p.payload_bytes AS whole
        FROM parked p LEFT JOIN version v ON v.parked_id = p.id AND v.number = p.version
        WHERE {chosen} ORDER BY p.id FOR UPDATE OF p""")  # noqa: S608 - constants


class ReplaySql(SqlUnitOfWork):
    """Implements store.ReplayWork."""

    async def lock_candidates(self, selection: DeadLetterSelection) -> Sequence[ReplayCandidate]:
        where = selection.where
        chosen = filter_values(where) if where else {"ids": list(selection.ids or ())}
        rows = await self._fetch_rows(statements.lock_candidates(where), **chosen)
        return [ReplayCandidate(**{**row, "state": DeadLetterState(row["state"])}) for row in rows]

    async def create_replay(self, new: NewReplay) -> None:
        terms = {"rate_per_s": new.rate_per_s, "keep_going": new.keep_going, "force": new.force}
        await self._execute(statements.CREATE_REPLAY, id=new.id, refused=new.ineligible.decode(), **terms)
        await self._execute(
            statements.CREATE_ITEMS,
            id=new.id,
            parked_ids=[c.id for c in new.items],
            lanes=[ordering_key_of(c) for c in new.items],
            queues=[c.queue for c in new.items],
            message_ids=[c.message_id for c in new.items],
            versions=[c.version for c in new.items],
            aged=[c.id in new.beyond_retention for c in new.items],
        )

    async def find_replay(self, replay_id: str) -> ReplayView | None:
        found = await self._fetch_rows(statements.FIND_REPLAY, id=replay_id)
        return _view(found[0]) if found else None

    async def list_replays(self, limit: int) -> Sequence[ReplayView]:
        return [_view(row) for row in await self._fetch_rows(statements.LIST_REPLAYS, limit=limit)]

    async def cancel_replay(self, replay_id: str) -> bool:
        if not await self._fetch_scalar(statements.LOCK_OPEN_REPLAY, id=replay_id):
            return False
        await self.stop_replay(replay_id, ReplayState.CANCELLED, "cancelled")
        return True

    async def claim_replays(self, leased_by: str, lease_s: float) -> Sequence[LeasedReplay]:
        rows = await self._fetch_rows(statements.CLAIM_REPLAYS, holder=leased_by, lease_s=lease_s)
        return [_leased_replay(row) for row in rows]

    async def dispatch_next(self, replay_id: str, limit: int) -> int:
        taken = len(await self._fetch_rows(statements.DISPATCH_NEXT, id=replay_id, limit=limit))
        if taken:
            await self._execute(statements.APPEND_BATCH, id=replay_id, size=taken)
        return taken

    async def list_in_flight(self, replay_id: str) -> Sequence[Redelivery]:
        rows = await self._fetch_rows(statements.LIST_IN_FLIGHT, id=replay_id)
        return [Redelivery(**{**row, "headers": _decode_json(row["headers"], dict[str, str])}) for row in rows]

    async def mark_sent(self, replay_id: str, dead_letter_ids: Sequence[int]) -> None:
        await self._execute(statements.MARK_SENT, id=replay_id, parked_ids=list(dead_letter_ids))

    async def settle(self, replay_id: str, outcomes: Sequence[DeliveryOutcome]) -> None:
        await self._execute(
            statements.SETTLE,
            id=replay_id,
            parked_ids=[landing.dead_letter_id for landing in outcomes],
            states=[landing.state.value for landing in outcomes],
            admitted=[landing.received_at for landing in outcomes],
            errors=[landing.error for landing in outcomes],
        )

    async def mark_unconfirmed(self, replay_id: str, older_than_s: float) -> int:
        return len(await self._fetch_rows(statements.MARK_UNCONFIRMED, id=replay_id, older_than_s=older_than_s))

    async def block_successors(self, replay_id: str) -> None:
        await self._execute(statements.BLOCK_SUCCESSORS, id=replay_id)

    async def stop_replay(self, replay_id: str, outcome: ReplayState, reason: str) -> None:
        await self._execute(statements.STOP_REPLAY, id=replay_id, outcome=outcome.value, reason=reason)

    async def end_replay(self, replay_id: str, state: ReplayState) -> None:
        await self._execute(statements.END_REPLAY, id=replay_id, state=state.value)

    async def _fetch_rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        """Mappings by column."""
        return await self.connection.execute(statement, values)


def _view(row: Mapping[Any, Any]) -> ReplayView:
    counts: dict[str, int] = _decode_json(row["counts"], dict[str, int])
    return ReplayView(
        **{
            **row,
            "state": ReplayState(row["state"]),
            "counts": {state: counts[state] for state in RedeliveryState if state in counts},
            "messages": sum(counts.values()),
            "batches": tuple(row["batches"]),
            "refused": _decode_json(row["refused"], tuple[IneligibleMessages, ...]),
        }
    )


def _leased_replay(row: Mapping[Any, Any]) -> LeasedReplay:
    outcome = ReplayState(row["outcome"]) if row["outcome"] else None
    return LeasedReplay(**{**row, "state": ReplayState(row["state"]), "outcome": outcome})


def _decode_json(column: Any, kind: Any) -> Any:
    """A jsonb column comes as text or decoded, by how the statement was built."""
    return msgspec.json.decode(column, type=kind) if isinstance(column, str) else msgspec.convert(column, kind)
