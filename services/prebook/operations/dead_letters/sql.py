"""Storage of the dead letters in PostgreSQL."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import TextClause, text

from prebook.contracts.dead_letters import (
    ChangedDeadLetters,
    DeadLetterFailure,
    DeadLetterFilter,
    DeadLetterSelection,
    DeadLetterState,
    DeadLetterSummary,
    DeadLetterVersion,
    DeadLetterView,
    FailureGroup,
    FailureGroups,
    Note,
    Payload,
)
from prebook.contracts.replays import RedeliveryState
from prebook.messaging.errors import error_summary
from prebook.messaging.headers import DATA_REFERENCE_HEADER, HISTORY_HEADER
from prebook.operations.dead_letters.record import DeadLetterRecord, edited_headers
from prebook.operations.dead_letters.store import BodyReference, UnstorableMessage
from prebook.postgres.state_literals import with_states
from prebook.postgres.statements import statement_factory
from prebook.postgres.unit_of_work import SqlUnitOfWork

_statement = statement_factory(DeadLetterState, RedeliveryState)

COLUMNS = """d.id, d.state, d.failure_group, d.cause, d.error_type, d.error, d.queue, d.exchange, d.routing_key, d.flow,
    d.kind, d.type, d.message_id, d.conversation_id, d.trace_id, d.attempts, d.times_parked, d.first_failed_at,
    d.last_failed_at, d.payload_bytes, d.version, d.reason, d.operator"""

# The upsert locks the row whether it is new or not: two occurrences of one message are recorded one after the other.
INSERT_OR_LOCK = text("""
    INSERT INTO dead_letter (fingerprint, queue, exchange, routing_key, cause, error_type, error, failure_group, flow,
        kind, type, message_id, conversation_id, trace_id, attempts, occurred_at, first_failed_at, last_failed_at,
        payload, payload_bytes, headers)
    VALUES (:fingerprint, :queue, :exchange, :routing_key, :cause, :error_type, :error, :failure_group, :flow,
        :kind, :type, :message_id, :conversation_id, :trace_id, :attempts, :occurred_at, :first_failed_at,
        :last_failed_at, :payload, :payload_bytes, CAST(:headers AS jsonb))
    ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint RETURNING id""")
LOCK_REPLAYED = text("""
    SELECT d.id FROM redelivery rd JOIN dead_letter d ON d.id = rd.dead_letter_id
    WHERE rd.replay_id = :replay_id AND rd.dead_letter_id = :dead_letter_id AND rd.queue = :queue
        AND rd.message_id = :message_id
    FOR UPDATE OF d""")
ADD_OCCURRENCE = text("""
    INSERT INTO occurrence (dead_letter_id, occurrence_id, at, cause, error, attempts, replay_id)
    VALUES (:id, :occurrence_id, :last_failed_at, :cause, :error, :attempts, :replay_id)
    ON CONFLICT (dead_letter_id, occurrence_id) DO NOTHING RETURNING 1""")
MARK_FAILED_AGAIN = _statement("""
    UPDATE redelivery rd SET state = {FAILED_AGAIN}, settled_at = now(), error = :error,
        same_cause = (d.cause = :cause AND d.error_type = :error_type)
    FROM dead_letter d
    WHERE rd.replay_id = :replay_id AND rd.dead_letter_id = :id AND rd.state = {IN_FLIGHT}
        AND d.id = rd.dead_letter_id""")
# A discarded message that fails once more becomes visible again; one that its receiver has handled does not. Of the
# headers only the history changes: a replay continues it.
UPDATE_DEAD_LETTER = _statement(f"""
    UPDATE dead_letter SET times_parked = times_parked + 1, cause = :cause, error_type = :error_type, error = :error,
        failure_group = :failure_group, attempts = :attempts,
        last_failed_at = greatest(last_failed_at, :last_failed_at),
        headers = headers || jsonb_strip_nulls(jsonb_build_object('{HISTORY_HEADER}', CAST(:history AS text))),
        state = CASE WHEN :of_replay AND state = {{RESOLVED}} THEN state
            WHEN EXISTS (
                SELECT FROM redelivery rd WHERE rd.dead_letter_id = :id AND rd.state IN ({{REQUESTED}}, {{IN_FLIGHT}}))
            THEN {{REPLAYING}} ELSE {{PARKED}} END
    WHERE id = :id""")  # noqa: S608 - constants

LIST_BODY_REFERENCES = _statement("""
    SELECT id, kind, flow, headers ->> CAST(:header AS text) AS path FROM dead_letter
    WHERE id > :after AND state <> {RESOLVED} AND headers ->> CAST(:header AS text) IS NOT NULL
    ORDER BY id LIMIT :limit""")
LIST_GROUPS = text("""
    SELECT g.*, (
        SELECT error FROM dead_letter d WHERE d.state = :state AND d.failure_group = g.failure_group
        ORDER BY last_failed_at DESC LIMIT 1) AS error
    FROM (
        SELECT failure_group, max(cause) AS cause, max(error_type) AS error_type, max(type) AS type,
            max(queue) AS queue, count(*) AS messages, min(first_failed_at) AS oldest, max(last_failed_at) AS newest
        FROM dead_letter WHERE state = :state GROUP BY failure_group) g
    ORDER BY messages DESC, failure_group""")
FIND_DEAD_LETTER = text(f"SELECT {COLUMNS}, d.headers, d.payload FROM dead_letter d WHERE d.id = :id")  # noqa: S608 - constants
LIST_VERSIONS = text("""
    SELECT number, at, reason, operator, headers, payload FROM dead_letter_version
    WHERE dead_letter_id = :id ORDER BY number""")
LIST_OCCURRENCES = text("""
    SELECT at, cause, error, attempts, replay_id AS replay FROM occurrence WHERE dead_letter_id = :id ORDER BY at""")
LIST_NOTES = text("SELECT at, operator, text FROM dead_letter_note WHERE dead_letter_id = :id ORDER BY id")
LIST_REPLAY_IDS = text("""
    SELECT replay_id FROM redelivery JOIN replay ON replay.id = replay_id
    WHERE dead_letter_id = :id ORDER BY created_at""")

ADD_NOTE = text("""
    INSERT INTO dead_letter_note (dead_letter_id, operator, text)
    SELECT id, CAST(:operator AS text), CAST(:text AS text) FROM dead_letter WHERE id = :id RETURNING 1""")
LOCK_CURRENT_VERSION = _statement("""
    SELECT d.version, coalesce(v.headers, d.headers) AS headers, coalesce(v.payload, d.payload) AS payload
    FROM dead_letter d LEFT JOIN dead_letter_version v ON v.dead_letter_id = d.id AND v.number = d.version
    WHERE d.id = :id AND d.state = {PARKED} FOR UPDATE OF d""")
ADD_VERSION = text("""
    WITH updated AS (UPDATE dead_letter SET version = :number WHERE id = :id)
    INSERT INTO dead_letter_version (dead_letter_id, number, reason, operator, headers, payload)
    VALUES (:id, :number, :reason, :operator, CAST(:headers AS jsonb), :payload)""")
DISCARD = with_states(
    """
    UPDATE dead_letter SET state = {DISCARDED}, reason = :reason, operator = :operator FROM chosen
    WHERE dead_letter.id = chosen.id AND dead_letter.state = {PARKED} RETURNING dead_letter.id""",
    DeadLetterState,
)
RESTORE = with_states(
    """
    UPDATE dead_letter SET state = {PARKED}, reason = '', operator = :operator FROM chosen
    WHERE dead_letter.id = chosen.id AND dead_letter.state = {DISCARDED} RETURNING dead_letter.id""",
    DeadLetterState,
)

FILTERS = {
    "failure_group": "d.failure_group = :failure_group",
    "cause": "d.cause = :cause",
    "queue": "d.queue = :queue",
    "type": "d.type = :type",
    "flow": "d.flow = :flow",
    "conversation_id": "d.conversation_id = :conversation_id",
    "message_id": "d.message_id = :message_id",
}
"""Condition for each field of DeadLetterFilter."""


def selection_sql(where: DeadLetterFilter | None, state: str) -> str:
    """Return the condition for selected dead letters: those in ``state``, an SQL expression, that match ``where``.

    Without ``where``: those with the ids ``:ids``, whatever their state.
    """
    return "d.id = ANY (CAST(:ids AS bigint[]))" if where is None else f"d.state = {state}{_filter_sql(where)}"


def selection_values(selection: DeadLetterSelection) -> dict[str, Any]:
    """Return the values that ``selection_sql`` refers to."""
    return {"ids": list(selection.ids or ())} if selection.where is None else _filter_values(selection.where)


def _select_page(where: DeadLetterFilter) -> TextClause:
    return text(f"""
        SELECT {COLUMNS} FROM dead_letter d
        WHERE d.state = ANY (CAST(:states AS text[])) AND d.id < :before{_filter_sql(where)}
        ORDER BY d.id DESC LIMIT :limit""")  # noqa: S608 - constants


def _change_selected(where: DeadLetterFilter | None, change: str) -> TextClause:
    """Return ``change`` with the CTE ``chosen``: the selected dead letters, locked in the order of their ids."""
    chosen = selection_sql(where, ":state")
    return text(f"WITH chosen AS (SELECT d.id FROM dead_letter d WHERE {chosen} ORDER BY d.id FOR UPDATE) {change}")  # noqa: S608


def _filter_values(where: DeadLetterFilter) -> dict[str, str]:
    return {name: value for name in FILTERS if (value := getattr(where, name)) is not None}


def _filter_sql(where: DeadLetterFilter) -> str:
    return "".join(f" AND {FILTERS[name]}" for name in _filter_values(where))


class DeadLetterSql(SqlUnitOfWork):
    """Implement DeadLetterWork."""

    async def add_dead_letter(self, record: DeadLetterRecord) -> bool:
        try:
            return await self._insert(record)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if _is_data_error(error):
                raise UnstorableMessage(error_summary(error)) from error
            raise

    async def _insert(self, record: DeadLetterRecord) -> bool:
        row = {**asdict(record), "headers": _json(record.headers)}
        replayed = (
            await self._fetch_scalar(LOCK_REPLAYED, **row) if record.replay_id and record.dead_letter_id else None
        )
        row["id"] = replayed or await self._fetch_scalar(INSERT_OR_LOCK, **row)
        if not await self._fetch_scalar(ADD_OCCURRENCE, **row):
            return False
        if replayed:
            await self._execute(MARK_FAILED_AGAIN, **row)
        history = record.headers.get(HISTORY_HEADER)
        await self._execute(UPDATE_DEAD_LETTER, **row, of_replay=bool(replayed), history=history)
        return True

    async def list_dead_letters(
        self, states: Sequence[DeadLetterState], where: DeadLetterFilter, before: int, limit: int
    ) -> Sequence[DeadLetterSummary]:
        values = {"states": [state.value for state in states], "before": before, "limit": limit}
        rows = await self._fetch_rows(_select_page(where), **values, **_filter_values(where))
        return [_summary(row) for row in rows]

    async def list_body_references(self, after: int, limit: int) -> Sequence[BodyReference]:
        rows = await self._fetch_rows(LIST_BODY_REFERENCES, after=after, limit=limit, header=DATA_REFERENCE_HEADER)
        return [BodyReference(*row) for row in rows]

    async def list_groups(self, state: DeadLetterState) -> FailureGroups:
        groups = tuple(FailureGroup(**row) for row in await self._fetch_rows(LIST_GROUPS, state=state.value))
        return FailureGroups(groups=groups, messages=sum(group.messages for group in groups))

    async def find_dead_letter(self, dead_letter_id: int) -> DeadLetterView | None:
        rows = await self._fetch_rows(FIND_DEAD_LETTER, id=dead_letter_id)
        if not rows:
            return None
        row = dict(rows[0])
        headers = dict(row.pop("headers"))
        payload = row.pop("payload")
        return DeadLetterView(
            summary=_summary(row),
            headers=headers,
            payload=payload_of(payload),
            payload_truncated=len(payload) < row["payload_bytes"],
            versions=tuple(_version(row) for row in await self._fetch_rows(LIST_VERSIONS, id=dead_letter_id)),
            failures=tuple(
                DeadLetterFailure(**row) for row in await self._fetch_rows(LIST_OCCURRENCES, id=dead_letter_id)
            ),
            notes=tuple(Note(**row) for row in await self._fetch_rows(LIST_NOTES, id=dead_letter_id)),
            replays=tuple(row["replay_id"] for row in await self._fetch_rows(LIST_REPLAY_IDS, id=dead_letter_id)),
        )

    async def add_note(self, dead_letter_id: int, text: str, *, operator: str) -> bool:
        return bool(await self._fetch_scalar(ADD_NOTE, id=dead_letter_id, text=text, operator=operator))

    async def edit(
        self,
        dead_letter_id: int,
        headers: Mapping[str, str | None],
        payload: bytes | None,
        reason: str,
        *,
        operator: str,
    ) -> int:
        rows = await self._fetch_rows(LOCK_CURRENT_VERSION, id=dead_letter_id)
        if not rows:
            return 0
        current = rows[0]
        number = current["version"] + 1
        new = {
            "headers": _json(edited_headers(current["headers"], headers)),
            "payload": current["payload"] if payload is None else payload,
        }
        await self._execute(ADD_VERSION, id=dead_letter_id, number=number, reason=reason, operator=operator, **new)
        return int(number)

    async def discard(self, selection: DeadLetterSelection, reason: str, *, operator: str) -> ChangedDeadLetters:
        return await self._change_state(selection, DeadLetterState.PARKED, DISCARD, reason=reason, operator=operator)

    async def restore(self, selection: DeadLetterSelection, *, operator: str) -> ChangedDeadLetters:
        return await self._change_state(selection, DeadLetterState.DISCARDED, RESTORE, operator=operator)

    async def _change_state(
        self, selection: DeadLetterSelection, state: DeadLetterState, change: str, **values: Any
    ) -> ChangedDeadLetters:
        statement = _change_selected(selection.where, change)
        rows = await self._fetch_rows(statement, state=state.value, **selection_values(selection), **values)
        return ChangedDeadLetters(ids=tuple(sorted(row["id"] for row in rows)))


def _is_data_error(error: Exception) -> bool:
    """SQLSTATE class 22 (data exception) or 54 (program limit exceeded), or a value that the client cannot encode."""
    return str(getattr(error, "sqlstate", None) or "")[:2] in {"22", "54"} or isinstance(error, ValueError)


def payload_of(body: bytes) -> Payload:
    """Return ``body`` as text if it is UTF-8, otherwise as base64."""
    try:
        return Payload(text=body.decode())
    except UnicodeDecodeError:
        return Payload(base64=base64.b64encode(body).decode())


def _summary(row: Mapping[Any, Any]) -> DeadLetterSummary:
    return DeadLetterSummary(**{**row, "state": DeadLetterState(row["state"])})


def _version(row: Mapping[Any, Any]) -> DeadLetterVersion:
    return DeadLetterVersion(**{**row, "payload": payload_of(row["payload"])})


def _json(headers: Mapping[str, str]) -> str:
    return msgspec.json.encode(headers).decode()
