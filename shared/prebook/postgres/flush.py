"""Write everything that a handler leaves behind in one round trip: one statement with a CTE for each kind of row.

Times are passed as intervals from now: relay and deadlines use the database's clock, so a service whose own clock is
wrong neither delays nor hurries its messages.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text

from prebook.messaging.envelope import Envelope, request_id_of
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.unit_of_work import CheckedBody, OutboxMessage, PendingReply
from prebook.postgres.message_column import to_column

IF_GUARD_INSERTED = "WHERE EXISTS (SELECT FROM guard)"
PART_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "requests": {"id": "text", "message": "text"},
    "replies": {"id": "text", "message": "text"},
    "enqueued": {
        **dict.fromkeys(("id", "kind", "flow", "conversation_id", "route", "message"), "text"),
        "delay": "interval",
        "expires_at": "timestamptz",
        "ordering_key": "text",
        "owner": "text",
    },
    "pending_replies": {
        **dict.fromkeys(("id", "flow", "conversation_id", "message"), "text"),
        "due": "interval",
        "poll": "interval",
    },
    "checked_bodies": {
        **dict.fromkeys(("id", "message_id", "kind", "flow"), "text"),
        "body": "bytea",
        "lifetime": "interval",
    },
}
"""Columns of each part, with their types. The parts are the fields of PendingWrites, and name the CTEs."""
PART_STATEMENTS: Mapping[str, str] = {
    "requests": "UPDATE inbox SET request = message FROM {rows} WHERE message_id = id",
    "replies": "UPDATE inbox SET reply = message FROM {rows} WHERE message_id = id",
    # A row is claimed on insert unless an earlier row of its key must leave before it: one that has failed or is due.
    # not_before <= created_at means "due" even if the clock has been set back since (see claim_outbox).
    # clock_timestamp() is used because the earlier row may come from a transaction that began after this one.
    # OFFSET 0: the earlier rows are looked up once for each new row, by the index outbox_ordering, and never joined.
    "enqueued": """
        INSERT INTO outbox (message_id, kind, flow, conversation_id, route, message, not_before, expires_at,
            ordering_key, claimed_by, claimed_until)
        SELECT id, kind, flow, conversation_id, route, message, now() + delay, expires_at, ordering_key,
            claimant, CASE WHEN claimant IS NOT NULL THEN clock_timestamp() + CAST(:enqueued_lease AS interval) END
        FROM (
            SELECT new.*, CASE WHEN owner IS NOT NULL AND NOT EXISTS (
                SELECT FROM outbox AS earlier
                WHERE earlier.sent_at IS NULL AND earlier.route = new.route AND earlier.ordering_key = new.ordering_key
                    AND earlier.seq <> ALL (CAST(:enqueued_tracked AS bigint[])) AND earlier.abandoned_at IS NULL
                    AND (earlier.failures > 0 OR earlier.not_before <= earlier.created_at
                        OR earlier.not_before <= clock_timestamp())
                OFFSET 0) THEN owner END AS claimant
            FROM {rows} OFFSET 0) AS claimable
        {condition} ON CONFLICT (message_id) DO NOTHING RETURNING message_id, seq, claimed_by""",
    "pending_replies": """
        INSERT INTO pending_reply (request_id, flow, conversation_id, message, due_at, poll_at)
        SELECT id, flow, conversation_id, message, now() + due, now() + poll
        FROM {rows} {condition} ON CONFLICT (request_id) DO NOTHING""",
    "checked_bodies": """
        INSERT INTO checked_body (id, message_id, kind, flow, body, expires_at)
        SELECT id, message_id, kind, flow, body, now() + lifetime FROM {rows} {condition}
        ON CONFLICT (id) DO UPDATE SET expires_at = greatest(checked_body.expires_at, excluded.expires_at)""",
}
RESULT_QUERIES: Mapping[Sequence[str], str] = {
    (): "SELECT 1",
    ("guard",): "SELECT NULL AS message_id FROM guard",
    ("enqueued",): "SELECT message_id, seq FROM enqueued WHERE claimed_by IS NOT NULL",
    ("guard", "enqueued"): "SELECT message_id, seq FROM guard LEFT JOIN enqueued ON claimed_by IS NOT NULL",
}
"""The statement's result, by the parts that have one."""
PendingPart = tuple[str, bool]
"""(name, whether it has a single row, as it mostly has). A single row is written as values, several as arrays."""


@dataclass(frozen=True)
class GuardInsert:
    """A condition of the whole flush: if it inserts nothing, nothing else is written.

    ``ctes`` are CTEs, of which ``guard`` has a row if the insert worked; otherwise ``make_error()`` is raised.
    """

    ctes: str
    values: Mapping[str, Any]
    make_error: Callable[[], Exception]


@dataclass
class PendingWrites:
    """Writes of a handler, collected until its unit of work ends."""

    requests: list[Envelope] = field(default_factory=list)
    replies: list[Envelope] = field(default_factory=list)
    enqueued: list[OutboxMessage] = field(default_factory=list)
    pending_replies: list[PendingReply] = field(default_factory=list)
    checked_bodies: list[CheckedBody] = field(default_factory=list)

    @property
    def parts(self) -> tuple[PendingPart, ...]:
        """Parts with at least one row, as ``flush_statement`` takes them; empty if there is nothing to write."""
        return tuple((name, len(rows) == 1) for name in PART_STATEMENTS if (rows := getattr(self, name)))

    def values(self, handoff: Handoff) -> dict[str, Any]:
        """Return the bind values of ``flush_statement(self.parts)``. A message that is in two parts is encoded once."""
        encode_column = _ColumnCache()
        values: dict[str, Any] = {"enqueued_lease": handoff.lease, "enqueued_tracked": handoff.tracked}
        for name, single in self.parts:
            rows = [ROW_BUILDERS[name](each, encode_column, handoff) for each in getattr(self, name)]
            columns = rows[0] if single else [list(column) for column in zip(*rows, strict=True)]
            values |= zip(_bind_names(name), columns, strict=True)
        return values


class _ColumnCache:
    def __init__(self) -> None:
        self._columns: dict[int, str] = {}

    def __call__(self, envelope: Envelope) -> str:
        column = self._columns.get(id(envelope))
        if column is None:
            column = self._columns[id(envelope)] = to_column(envelope)
        return column


def _request_row(request: Envelope, encode_column: _ColumnCache, _: Handoff) -> Sequence[Any]:
    return request.id, encode_column(request)


def _reply_row(reply: Envelope, encode_column: _ColumnCache, _: Handoff) -> Sequence[Any]:
    return request_id_of(reply.id), encode_column(reply)


def _outbox_row(message: OutboxMessage, encode_column: _ColumnCache, handoff: Handoff) -> Sequence[Any]:
    envelope = message.envelope
    return (
        envelope.id,
        envelope.kind.value,
        envelope.flow,
        envelope.conversation_id,
        message.route,
        encode_column(envelope),
        message.delay,
        envelope.expires_at,
        message.ordering_key,
        handoff.owner_of(message),
    )


def _pending_reply_row(pending: PendingReply, encode_column: _ColumnCache, _: Handoff) -> Sequence[Any]:
    request = pending.request
    due = pending.due_at - request.time
    poll = pending.poll_at - request.time if pending.poll_at else None
    return request.id, request.flow, request.conversation_id, encode_column(request), due, poll


def _checked_body_row(checked: CheckedBody, _: _ColumnCache, __: Handoff) -> Sequence[Any]:
    return checked.reference, checked.message_id, checked.kind.value, checked.flow, checked.body, checked.lifetime


ROW_BUILDERS: Mapping[str, Callable[[Any, _ColumnCache, Handoff], Sequence[Any]]] = {
    "requests": _request_row,
    "replies": _reply_row,
    "enqueued": _outbox_row,
    "pending_replies": _pending_reply_row,
    "checked_bodies": _checked_body_row,
}


@lru_cache
def _bind_names(part: str) -> tuple[str, ...]:
    """Return the bind names of the part's columns."""
    return tuple(f"{part}_{column}" for column in PART_COLUMNS[part])


def _source_rows(part: str, *, single: bool) -> str:
    """Return the part's row source for a FROM clause, named ``new (column, ...)``."""
    array = "" if single else "[]"
    kinds = zip(_bind_names(part), PART_COLUMNS[part].values(), strict=True)
    values = ", ".join(f"CAST(:{name} AS {kind}{array})" for name, kind in kinds)
    return f"{f'(VALUES ({values}))' if single else f'unnest({values})'} AS new ({', '.join(PART_COLUMNS[part])})"


@lru_cache
def flush_statement(parts: tuple[PendingPart, ...], guard: str = "") -> TextClause:
    """Return the statement that writes the parts.

    Its result has the claimed rows of the outbox; with a guard that worked, at least one row.
    """
    condition = IF_GUARD_INSERTED if guard else ""
    ctes = [
        f"{name} AS ({PART_STATEMENTS[name].format(rows=_source_rows(name, single=single), condition=condition)})"
        for name, single in parts
    ]
    sources = ["guard"] * bool(guard) + ["enqueued"] * any(name == "enqueued" for name, _ in parts)
    result = RESULT_QUERIES[tuple(sources)]
    return text(f"WITH {', '.join([guard, *ctes] if guard else ctes)} {result}")
