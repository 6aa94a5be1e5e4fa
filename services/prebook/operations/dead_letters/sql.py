"""Parked messages on PostgreSQL."""

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
from prebook.messaging.errors import error_summary
from prebook.operations.dead_letters import sql
from prebook.operations.dead_letters.record import DeadLetterRecord
from prebook.operations.replays.redelivery import edited_headers
from prebook.operations.store import UnstorableMessage
from prebook.postgres.unit_of_work import SqlUnitOfWork

DISCARD = """
    UPDATE parked SET state = 'discarded', reason = :reason FROM chosen
    WHERE parked.id = chosen.id AND parked.state = 'parked' RETURNING parked.id"""
RESTORE = """
    UPDATE parked SET state = 'parked', reason = '' FROM chosen
    WHERE parked.id = chosen.id AND parked.state = 'discarded' RETURNING parked.id"""


class DeadLetterSql(SqlUnitOfWork):
    """Implements store.ParkedWork."""

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
            await self._fetch_scalar(sql.LOCK_REPLAYED, **row) if record.replay_id and record.dead_letter_id else None
        )
        row["id"] = replayed or await self._fetch_scalar(sql.INSERT_OR_LOCK, **row)
        if not await self._fetch_scalar(sql.ADD_OCCURRENCE, **row):
            return False
        if replayed:
            await self._execute(sql.MARK_FAILED_AGAIN, **row)
        await self._execute(sql.UPDATE_DEAD_LETTER, **row, of_replay=bool(replayed))
        return True

    async def list_dead_letters(
        self, states: Sequence[DeadLetterState], where: DeadLetterFilter, before: int, limit: int
    ) -> Sequence[DeadLetterSummary]:
        asked = {"states": [state.value for state in states], "before": before, "limit": limit}
        return [
            _line(row) for row in await self._fetch_rows(sql.select_page(where), **asked, **sql.filter_values(where))
        ]

    async def list_groups(self, state: DeadLetterState) -> FailureGroups:
        found = tuple(FailureGroup(**row) for row in await self._fetch_rows(sql.LIST_GROUPS, state=state.value))
        return FailureGroups(groups=found, messages=sum(group.messages for group in found))

    async def find_dead_letter(self, dead_letter_id: int) -> DeadLetterView | None:
        found = await self._fetch_rows(sql.FIND_DEAD_LETTER, id=dead_letter_id)
        if not found:
            return None
        row = dict(found[0])
        headers, payload = _decode_headers(row.pop("headers")), row.pop("payload")
        return DeadLetterView(
            summary=_line(row),
            headers=headers,
            payload=payload_of(payload),
            payload_truncated=len(payload) < row["payload_bytes"],
            versions=tuple(_version(v) for v in await self._fetch_rows(sql.LIST_VERSIONS, id=dead_letter_id)),
            failures=tuple(
                DeadLetterFailure(**p) for p in await self._fetch_rows(sql.LIST_OCCURRENCES, id=dead_letter_id)
            ),
            notes=tuple(Note(**n) for n in await self._fetch_rows(sql.LIST_NOTES, id=dead_letter_id)),
            replays=tuple(r["replay_id"] for r in await self._fetch_rows(sql.LIST_REPLAY_IDS, id=dead_letter_id)),
        )

    async def add_note(self, dead_letter_id: int, text: str) -> bool:
        return bool(await self._fetch_scalar(sql.ADD_NOTE, id=dead_letter_id, text=text))

    async def edit(
        self, dead_letter_id: int, headers: Mapping[str, str | None], payload: bytes | None, reason: str
    ) -> int:
        found = await self._fetch_rows(sql.LOCK_CURRENT_VERSION, id=dead_letter_id)
        if not found:
            return 0
        now, number = found[0], found[0]["version"] + 1
        new = {
            "headers": _json(edited_headers(_decode_headers(now["headers"]), headers)),
            "payload": now["payload"] if payload is None else payload,
        }
        await self._execute(sql.ADD_VERSION, id=dead_letter_id, number=number, reason=reason, **new)
        return int(number)

    async def discard(self, selection: DeadLetterSelection, reason: str) -> ChangedDeadLetters:
        return await self._change_state(selection, DeadLetterState.PARKED, DISCARD, reason=reason)

    async def restore(self, selection: DeadLetterSelection) -> ChangedDeadLetters:
        return await self._change_state(selection, DeadLetterState.DISCARDED, RESTORE)

    async def _change_state(
        self, selection: DeadLetterSelection, state: DeadLetterState, change: str, **values: Any
    ) -> ChangedDeadLetters:
        where = selection.where
        chosen = {"state": state.value, **sql.filter_values(where)} if where else {"ids": list(selection.ids or ())}
        rows = await self._fetch_rows(sql.change_selected(where, change), **chosen, **values)
        return ChangedDeadLetters(ids=tuple(sorted(row["id"] for row in rows)))

    async def _fetch_rows(self, statement: TextClause, **values: Any) -> Sequence[Any]:
        """Mappings by column."""
        return await self.connection.execute(statement, values)


def _is_data_error(error: Exception) -> bool:
    """SQLSTATE classes 22, data exception, and 54, limit exceeded; or the client could not write a value at all."""
    return str(getattr(error, "sqlstate", None) or "")[:2] in {"22", "54"} or isinstance(error, ValueError)


def payload_of(body: bytes) -> Payload:
    try:
        return Payload(text=body.decode())
    except UnicodeDecodeError:
        return Payload(base64=base64.b64encode(body).decode())


def _line(row: Mapping[Any, Any]) -> DeadLetterSummary:
    return DeadLetterSummary(**{**row, "state": DeadLetterState(row["state"])})


def _version(row: Mapping[Any, Any]) -> DeadLetterVersion:
    return DeadLetterVersion(
        **{**row, "headers": _decode_headers(row["headers"]), "payload": payload_of(row["payload"])}
    )


def _json(headers: Mapping[str, str]) -> str:
    return msgspec.json.encode(headers).decode()


def _decode_headers(column: Any) -> dict[str, str]:
    """A jsonb column comes as text or decoded, by how the statement was built."""
    return msgspec.json.decode(column, type=dict[str, str]) if isinstance(column, str) else dict(column)


COLUMNS = """p.id, p.state, p.digest AS "group", p.cause, p.error_type, p.error, p.queue, p.exchange, p.key, p.flow,
    p.kind, p.type, p.message_id, p.conversation, p.trace_id, p.attempts, p.parkings, p.first_failed_at,
    p.last_failed_at, p.payload_bytes, p.version, p.reason"""

# The row is locked by this, whether it is new or not: two parkings of one message come one after the other.
INSERT_OR_LOCK = text("""
    INSERT INTO parked (fingerprint, queue, exchange, key, cause, error_type, error, digest, flow, kind, type,
        message_id, conversation, trace_id, attempts, said_at, first_failed_at, last_failed_at, payload,
        payload_bytes, headers)
    VALUES (:fingerprint, :queue, :exchange, :key, :cause, :error_type, :error, :digest, :flow, :kind, :type,
        :message_id, :conversation, :trace_id, :attempts, :said_at, :first_failed_at, :last_failed_at, :payload,
        :payload_bytes, CAST(:headers AS jsonb))
    ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint RETURNING id""")
LOCK_REPLAYED = text("""
    SELECT p.id FROM replay_item i JOIN parked p ON p.id = i.parked_id
    WHERE i.replay_id = :replay_id AND i.parked_id = :parked_id AND i.queue = :queue AND i.message_id = :message_id
    FOR UPDATE OF p""")
ADD_OCCURRENCE = text("""
    INSERT INTO parking (parked_id, event, at, cause, error, attempts, replay_id)
    VALUES (:id, :event, :last_failed_at, :cause, :error, :attempts, :replay_id)
    ON CONFLICT (parked_id, event) DO NOTHING RETURNING 1""")
MARK_FAILED_AGAIN = text("""
    UPDATE replay_item i SET state = 'failed_again', settled_at = now(), error = :error,
        same_cause = (p.cause = :cause AND p.error_type = :error_type)
    FROM parked p
    WHERE i.replay_id = :replay_id AND i.parked_id = :id AND i.state = 'in_flight' AND p.id = i.parked_id""")
# A discarded message that fails once more is to be seen again; one that its receiver has admitted is not.
UPDATE_DEAD_LETTER = text("""
    UPDATE parked SET parkings = parkings + 1, cause = :cause, error_type = :error_type, error = :error,
        digest = :digest, attempts = :attempts, last_failed_at = greatest(last_failed_at, :last_failed_at),
        state = CASE WHEN :of_replay AND state = 'resolved' THEN state
            WHEN EXISTS (SELECT FROM replay_item i WHERE i.parked_id = :id AND i.state IN ('requested', 'in_flight'))
            THEN 'replaying' ELSE 'parked' END
    WHERE id = :id""")

LIST_GROUPS = text("""
    SELECT g.*, (
        SELECT error FROM parked p WHERE p.state = :state AND p.digest = g."group" ORDER BY last_failed_at DESC LIMIT 1)
        AS error
    FROM (
        SELECT digest AS "group", max(cause) AS cause, max(error_type) AS error_type, max(type) AS type,
            max(queue) AS queue, count(*) AS messages, min(first_failed_at) AS oldest, max(last_failed_at) AS newest
        FROM parked WHERE state = :state GROUP BY digest) g
    ORDER BY messages DESC, "group" """)
FIND_DEAD_LETTER = text(f"SELECT {COLUMNS}, p.headers, p.payload FROM parked p WHERE p.id = :id")  # noqa: S608 - constants
LIST_VERSIONS = text("SELECT number, at, reason, headers, payload FROM version WHERE parked_id = :id ORDER BY number")
LIST_OCCURRENCES = text(
    "SELECT at, cause, error, attempts, replay_id AS replay FROM parking WHERE parked_id = :id ORDER BY at"
)
LIST_NOTES = text("SELECT at, text FROM note WHERE parked_id = :id ORDER BY id")
LIST_REPLAY_IDS = text("""
    SELECT replay_id FROM replay_item JOIN replay ON replay.id = replay_id WHERE parked_id = :id ORDER BY created_at""")

ADD_NOTE = text("""
    INSERT INTO note (parked_id, text) SELECT id, CAST(:text AS text) FROM parked WHERE id = :id RETURNING 1""")
LOCK_CURRENT_VERSION = text("""
    SELECT p.version, coalesce(v.headers, p.headers) AS headers, coalesce(v.payload, p.payload) AS payload
    FROM parked p LEFT JOIN version v ON v.parked_id = p.id AND v.number = p.version
    WHERE p.id = :id AND p.state = 'parked' FOR UPDATE OF p""")
ADD_VERSION = text("""
    WITH bumped AS (UPDATE parked SET version = :number WHERE id = :id)
    INSERT INTO version (parked_id, number, reason, headers, payload)
    VALUES (:id, :number, :reason, CAST(:headers AS jsonb), :payload)""")

FILTERS = {
    "group": "p.digest = :group",
    "cause": "p.cause = :cause",
    "queue": "p.queue = :queue",
    "type": "p.type = :type",
    "flow": "p.flow = :flow",
    "conversation": "p.conversation = :conversation",
    "message_id": "p.message_id = :message_id",
}


def filter_values(where: DeadLetterFilter) -> dict[str, str]:
    return {name: value for name in FILTERS if (value := getattr(where, name)) is not None}


def select_page(where: DeadLetterFilter) -> TextClause:
    return text(f"""
        SELECT {COLUMNS} FROM parked p
        WHERE p.state = ANY (CAST(:states AS text[])) AND p.id < :before {_filter_sql(where)}
        ORDER BY p.id DESC LIMIT :limit""")  # noqa: S608 - constants


def change_selected(where: DeadLetterFilter | None, change: str) -> TextClause:
    """``change`` with the messages of a selection locked in the order of their ids; ``WHERE`` goes on in it."""
    chosen = "p.id = ANY (CAST(:ids AS bigint[]))" if where is None else f"p.state = :state {_filter_sql(where)}"
    return text(f"WITH chosen AS (SELECT p.id FROM parked p WHERE {chosen} ORDER BY p.id FOR UPDATE) {change}")  # noqa: S608


def _filter_sql(where: DeadLetterFilter) -> str:
    return "".join(f" AND {FILTERS[name]}" for name in filter_values(where))
