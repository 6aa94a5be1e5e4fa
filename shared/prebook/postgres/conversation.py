"""Records of one conversation in a service's own tables, for an operator who looks at one ride.

The id of every message begins with its conversation, and the primary keys of inbox and outbox sort by byte (COLLATE
"C"). So the rows of a conversation are one range of each primary key, and need no index of their own.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.conversations import (
    MAX_RECORDS,
    BlockedRecord,
    ConversationRecords,
    PendingRecord,
    ReceivedRecord,
    SentRecord,
)
from prebook.messaging.errors import redact_values
from prebook.messaging.headers import ATTEMPT_HEADER, TIME_HEADER, TYPE_HEADER
from prebook.messaging.recent_stages import RecentStages
from prebook.patterns.trace import TRACEPARENT_HEADER, trace_id
from prebook.postgres.connection import acquire

_OF_CONVERSATION = """message_id >= CAST(:conversation_id AS text) || '.'
        AND message_id < CAST(:conversation_id AS text) || '/'"""
_HEADER = "CAST(message AS json) -> 'headers' ->> '{}'"
READ_SENT = text(f"""
    SELECT message_id, route, state, created_at, greatest(created_at, not_before) AS due_at, sent_at, failures,
        coalesce(last_error, '') AS error, {_HEADER.format(TYPE_HEADER)} AS type,
        {_HEADER.format(TRACEPARENT_HEADER)} AS traceparent,
        coalesce(CAST({_HEADER.format(ATTEMPT_HEADER)} AS integer), 1) AS attempt
    FROM outbox WHERE {_OF_CONVERSATION} ORDER BY created_at, seq LIMIT :limit""")  # noqa: S608 - constants
READ_RECEIVED = text(f"""
    SELECT message_id, received_at,
        CAST(CAST(reply AS json) -> 'headers' ->> '{TIME_HEADER}' AS timestamptz) AS replied_at,
        CAST(reply AS json) -> 'headers' ->> '{TYPE_HEADER}' AS reply_type
    FROM inbox WHERE {_OF_CONVERSATION} ORDER BY received_at LIMIT :limit""")  # noqa: S608 - constants
# These two tables are small: they hold what is under way.
READ_PENDING = text("""
    SELECT request_id AS message_id, due_at FROM pending_reply WHERE conversation_id = :conversation_id
    ORDER BY due_at LIMIT :limit""")
READ_BLOCKED = text("""
    SELECT message_id, status, error, blocked_at FROM blocked
    WHERE starts_with(message_id, CAST(:conversation_id AS text) || '.')
    ORDER BY seq LIMIT :limit""")


class SqlConversations:
    """Reads what a service has recorded of a conversation: its tables, and the recent stages of this process."""

    def __init__(self, service: str, engine: AsyncEngine, recent: RecentStages) -> None:
        self._service = service
        self._engine = engine
        self._recent = recent

    async def read(self, conversation_id: str) -> ConversationRecords:
        """Return the records, none for an unknown conversation. Raises Unreachable."""
        sent = await self._fetch(READ_SENT, conversation_id)
        received = await self._fetch(READ_RECEIVED, conversation_id)
        pending = await self._fetch(READ_PENDING, conversation_id)
        blocked = await self._fetch(READ_BLOCKED, conversation_id)
        stages = self._recent.of(conversation_id)
        return ConversationRecords(
            service=self._service,
            sent=tuple(map(_sent_of, sent[:MAX_RECORDS])),
            received=tuple(ReceivedRecord(**row) for row in received[:MAX_RECORDS]),
            pending=tuple(PendingRecord(**row) for row in pending[:MAX_RECORDS]),
            blocked=tuple(_blocked_of(row) for row in blocked[:MAX_RECORDS]),
            stages=tuple(stages),
            is_complete=all(len(rows) <= MAX_RECORDS for rows in (sent, received, pending, blocked)),
        )

    async def _fetch(self, statement: TextClause, conversation_id: str) -> Sequence[Any]:
        values = {"conversation_id": conversation_id, "limit": MAX_RECORDS + 1}
        async with acquire(self._engine) as connection:
            return list(await connection.execute_without_begin(statement, values))


def _sent_of(row: Any) -> SentRecord:
    columns = {name: value for name, value in row.items() if name != "traceparent"}
    columns["error"] = redact_values(row.error)
    return SentRecord(**columns, trace_id=trace_id(row.traceparent or ""))


def _blocked_of(row: Any) -> BlockedRecord:
    return BlockedRecord(**{**row, "error": redact_values(row.error)})
