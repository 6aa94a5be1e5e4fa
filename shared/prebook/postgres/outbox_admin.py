"""Administration of a service's outbox: list, resend and discard rows that the relay has abandoned."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from prebook.messaging.headers import TYPE_HEADER
from prebook.messaging.outbox.store import ABANDONED_STATES, OutboxState
from prebook.postgres.message_column import without_expiry
from prebook.postgres.relay_notifier import notify_channel
from prebook.postgres.state_literals import with_states

if TYPE_CHECKING:
    import asyncpg

_TYPE = f"message::json -> 'headers' ->> '{TYPE_HEADER}'"
COLUMNS = f"""seq AS id, state, cause, {_TYPE} AS type, kind, flow, message_id, conversation_id, route, ordering_key,
    failures, created_at, abandoned_at, expires_at, last_error AS error"""
FILTERS = {
    "cause": "cause = {}",
    "type": f"{_TYPE} = {{}}",
    "flow": "flow = {}",
    "conversation_id": "conversation_id = {}",
    "message_id": "message_id = {}",
}
READ_CONTENT = """
    SELECT message::json ->> 'headers', coalesce(message::json ->> 'base64', message::json ->> 'body')
    FROM {0}.outbox WHERE seq = $1"""
RESEND = with_states(
    """
    UPDATE {}.outbox SET state = {WAITING}, cause = NULL, abandoned_at = NULL, not_before = created_at,
        claimed_until = NULL, claimed_by = NULL, failures = 0, refusals = 0, message = $2, expires_at = $3
    WHERE seq = $1 AND state = ANY($4) RETURNING seq""",
    OutboxState,
)
DISCARD = with_states(
    """
    UPDATE {}.outbox SET state = {DISCARDED}, abandoned_at = now(), last_error = $2
    WHERE seq = ANY($1) AND state IN ({EXPIRED}, {UNDELIVERABLE}) RETURNING seq""",
    OutboxState,
)


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the outbox. ``failures``: failed attempts to send it; ``abandoned_at``: when the relay abandoned it."""

    service: str
    id: int
    state: str
    cause: str | None
    type: str
    kind: str
    flow: str
    message_id: str
    conversation_id: str
    route: str
    ordering_key: str
    failures: int
    created_at: datetime
    abandoned_at: datetime | None
    expires_at: datetime | None
    error: str | None


class MessageContent(msgspec.Struct, frozen=True, kw_only=True):
    """Headers and body of the message in a row."""

    headers: dict[str, str]
    body: str


class IneligibleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that a command leaves as it is, and the reason with its remedy."""

    id: int
    reason: str


class OutboxAdmin:
    """One service's outbox, on an administrator's connection."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", service: str) -> None:
        """``service`` becomes part of SQL statements: it must be one of PROCESSES, never user input."""
        self._connection = connection
        self._service = service

    async def list_rows(self, states: Collection[str], where: dict[str, str], limit: int | None) -> list[OutboxRow]:
        """Return the rows in these states that match ``where``, the oldest first."""
        conditions = [FILTERS[name].format(f"${number}") for number, name in enumerate(where, 3)]
        narrowed = "".join(f" AND {condition}" for condition in conditions)
        found = await self._connection.fetch(
            f"SELECT {COLUMNS} FROM {self._service}.outbox WHERE state = ANY($1){narrowed} ORDER BY seq LIMIT $2",  # noqa: S608
            list(states),
            limit,
            *where.values(),
        )
        return [self._outbox_row(row) for row in found]

    async def find_rows(self, ids: Sequence[int]) -> list[OutboxRow]:
        """Return the rows with these ids that exist."""
        query = f"SELECT {COLUMNS} FROM {self._service}.outbox WHERE seq = ANY($1) ORDER BY seq"  # noqa: S608 - see above
        return [self._outbox_row(row) for row in await self._connection.fetch(query, list(ids))]

    async def read_content(self, row_id: int) -> MessageContent | None:
        """Return the message of a row, a binary body in base64; None if there is no row with this id."""
        found = await self._connection.fetchrow(READ_CONTENT.format(self._service), row_id)
        return (
            None
            if found is None
            else MessageContent(headers=msgspec.json.decode(found[0], type=dict[str, str]), body=found[1])
        )

    async def resend(self, rows: Sequence[OutboxRow], *, ignore_expiry: bool) -> list[int]:
        """Make the rows due at once, without changing id, ordering key, headers or position; return their ids."""
        async with self._connection.transaction():
            again = [row.id for row in rows if await self._requeue(row, ignore_expiry=ignore_expiry)]
            await self._connection.execute(f"NOTIFY {notify_channel(self._service)}")
        return again

    async def discard(self, rows: Sequence[OutboxRow], reason: str) -> list[int]:
        """Discard the rows that are still abandoned; return their ids. ``reason`` is kept with each row."""
        ids = [row.id for row in rows]
        return [r["seq"] for r in await self._connection.fetch(DISCARD.format(self._service), ids, reason)]

    async def _requeue(self, row: OutboxRow, *, ignore_expiry: bool) -> bool:
        query = f"SELECT message FROM {self._service}.outbox WHERE seq = $1 FOR UPDATE"  # noqa: S608 - see above
        message = await self._connection.fetchval(query, row.id)
        expires_at = row.expires_at
        if ignore_expiry:
            message = without_expiry(message)
            expires_at = None
        again = await self._connection.fetchval(
            RESEND.format(self._service), row.id, message, expires_at, list(ABANDONED_STATES)
        )
        return again is not None

    def _outbox_row(self, row: Any) -> OutboxRow:
        return OutboxRow(service=self._service, **row)
