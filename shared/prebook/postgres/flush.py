"""What a step leaves behind, written in one round trip: a statement of as many parts as there is something for.

Times come as spans from now on: relay and deadlines go by the database's clock, and a service whose own clock is wrong
must neither wait nor hurry for that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text

from prebook.messaging.envelope import Envelope
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.unit_of_work import OutboxMessage, PendingReply
from prebook.postgres.message_column import to_column

IF_GUARD_INSERTED = "WHERE EXISTS (SELECT FROM opened)"
PART_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "owed": {"id": "text", "wire": "text"},
    "answered": {"id": "text", "wire": "text"},
    "posted": {
        **dict.fromkeys(("id", "kind", "flow", "conversation", "lane", "wire"), "text"),
        "after": "interval",
        "expires_at": "timestamptz",
        "order_key": "text",
        "owner": "text",
    },
    "asked": {
        **dict.fromkeys(("id", "flow", "conversation", "wire"), "text"),
        "due": "interval",
        "poll": "interval",
    },
}
"""By part, and their types."""
PART_STATEMENTS: Mapping[str, str] = {
    "owed": "UPDATE inbox SET request = wire FROM {rows} WHERE message_id = id",
    "answered": "UPDATE inbox SET answer = wire FROM {rows} WHERE message_id = id",
    # OFFSET 0: looked up for each row by the index whose condition this is, and once; never joined with all that waits.
    # What is to wait longer holds nothing back; what is not has its own time of writing, which a clock that was set
    # back has not reached yet. The clock, and not now(), for what came before us may have begun after us.
    "posted": """
        INSERT INTO outbox (message_id, kind, flow, conversation, lane, wire, not_before, expires_at, order_key,
            claimed_by, claimed_until)
        SELECT id, kind, flow, conversation, lane, wire, now() + after, expires_at, order_key,
            claimant, CASE WHEN claimant IS NOT NULL THEN clock_timestamp() + CAST(:posted_lease AS interval) END
        FROM (
            SELECT new.*, CASE WHEN owner IS NOT NULL AND NOT EXISTS (
                SELECT FROM outbox AS before
                WHERE before.sent_at IS NULL AND before.lane = new.lane AND before.order_key = new.order_key
                    AND before.seq <> ALL (CAST(:posted_known AS bigint[])) AND before.ended_at IS NULL
                    AND (before.failures > 0 OR before.not_before <= before.created_at
                        OR before.not_before <= clock_timestamp())
                OFFSET 0) THEN owner END AS claimant
            FROM {rows} OFFSET 0) AS claimable
        {condition} ON CONFLICT (message_id) DO NOTHING RETURNING message_id, seq, claimed_by""",
    "asked": """
        INSERT INTO awaited (request_id, flow, conversation, wire, due_at, poll_at)
        SELECT id, flow, conversation, wire, now() + due, now() + poll
        FROM {rows} {condition} ON CONFLICT (request_id) DO NOTHING""",
}
RESULT_QUERIES: Mapping[Sequence[str], str] = {
    (): "SELECT 1",
    ("opened",): "SELECT NULL AS message_id FROM opened",
    ("posted",): "SELECT message_id, seq FROM posted WHERE claimed_by IS NOT NULL",
    ("opened", "posted"): "SELECT message_id, seq FROM opened LEFT JOIN posted ON claimed_by IS NOT NULL",
}
"""What the statement returns, by the parts that have something to say."""
PendingPart = tuple[str, bool]
"""Its name, and whether it has one row, as it mostly has: then its columns are values, and no arrays of one."""


@dataclass(frozen=True)
class GuardInsert:
    """What the rest of the unit hangs on: without it, nothing else is written.

    ``parts`` are those of a WITH clause, of which ``opened`` has a row where it worked; ``failed`` is raised where not.
    """

    ctes: str
    values: Mapping[str, Any]
    make_error: Callable[[], Exception]


@dataclass
class PendingWrites:
    """Gathered while a step runs."""

    requests: list[Envelope] = field(default_factory=list)
    replies: list[Envelope] = field(default_factory=list)
    enqueued: list[OutboxMessage] = field(default_factory=list)
    pending_replies: list[PendingReply] = field(default_factory=list)

    @property
    def parts(self) -> tuple[PendingPart, ...]:
        return tuple((name, len(rows) == 1) for name in PART_STATEMENTS if (rows := getattr(self, name)))

    def values(self, handoff: Handoff) -> dict[str, Any]:
        """Of the statement for these parts. A request that is posted and awaited is encoded once."""
        wires = _ColumnCache()
        made: dict[str, Any] = {"posted_lease": handoff.lease, "posted_known": handoff.tracked}
        for name, one in self.parts:
            rows = [ROW_BUILDERS[name](each, wires, handoff) for each in getattr(self, name)]
            columns = rows[0] if one else [list(column) for column in zip(*rows, strict=True)]
            made |= zip(_bind_names(name), columns, strict=True)
        return made


class _ColumnCache:
    def __init__(self) -> None:
        self._columns: dict[int, str] = {}

    def __call__(self, envelope: Envelope) -> str:
        known = self._columns.get(id(envelope))
        if known is None:
            known = self._columns[id(envelope)] = to_column(envelope)
        return known


def _request_row(request: Envelope, encode_column: _ColumnCache, _: Handoff) -> Sequence[Any]:
    return request.id, encode_column(request)


def _reply_row(reply: Envelope, encode_column: _ColumnCache, _: Handoff) -> Sequence[Any]:
    return reply.id.removesuffix(".answer"), encode_column(reply)


def _outbox_row(message: OutboxMessage, encode_column: _ColumnCache, handoff: Handoff) -> Sequence[Any]:
    said = message.envelope
    to_whom = (said.id, said.kind.value, said.flow, said.conversation_id, message.route)
    return (
        *to_whom,
        encode_column(said),
        message.delay,
        said.expires_at,
        message.ordering_key,
        handoff.owner_of(message),
    )


def _pending_reply_row(pending: PendingReply, encode_column: _ColumnCache, _: Handoff) -> Sequence[Any]:
    asked = pending.request
    poll = pending.poll_at - asked.time if pending.poll_at else None
    return asked.id, asked.flow, asked.conversation_id, encode_column(asked), pending.due_at - asked.time, poll


ROW_BUILDERS: Mapping[str, Callable[[Any, _ColumnCache, Handoff], Sequence[Any]]] = {
    "owed": _request_row,
    "answered": _reply_row,
    "posted": _outbox_row,
    "asked": _pending_reply_row,
}


@lru_cache
def _bind_names(part: str) -> tuple[str, ...]:
    """Of the values of its columns."""
    return tuple(f"{part}_{column}" for column in PART_COLUMNS[part])


def _source_rows(part: str, *, single: bool) -> str:
    """What it is written from: ``new (column, ...)``."""
    array = "" if single else "[]"
    kinds = zip(_bind_names(part), PART_COLUMNS[part].values(), strict=True)
    values = ", ".join(f"CAST(:{name} AS {kind}{array})" for name, kind in kinds)
    return f"{f'(VALUES ({values}))' if single else f'unnest({values})'} AS new ({', '.join(PART_COLUMNS[part])})"


@lru_cache
def flush_statement(parts: tuple[PendingPart, ...], guard: str = "") -> TextClause:
    """Returns the rows of the outbox that were claimed; where there is an opening that worked, one row at least."""
    condition = IF_GUARD_INSERTED if guard else ""
    named = [
        f"{name} AS ({PART_STATEMENTS[name].format(rows=_source_rows(name, single=one), condition=condition)})"
        for name, one in parts
    ]
    sources = ["opened"] * bool(guard) + ["posted"] * any(name == "posted" for name, _ in parts)
    said = RESULT_QUERIES[tuple(sources)]
    return text(f"WITH {', '.join([guard, *named] if guard else named)} {said}")
