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
from prebook.messaging.outbox.handoff import Handover
from prebook.messaging.unit_of_work import Expectation, Posting
from prebook.postgres.message_column import to_column

IF_OPENED = "WHERE EXISTS (SELECT FROM opened)"
COLUMNS: Mapping[str, Mapping[str, str]] = {
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
PARTS: Mapping[str, str] = {
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
SAID: Mapping[Sequence[str], str] = {
    (): "SELECT 1",
    ("opened",): "SELECT NULL AS message_id FROM opened",
    ("posted",): "SELECT message_id, seq FROM posted WHERE claimed_by IS NOT NULL",
    ("opened", "posted"): "SELECT message_id, seq FROM opened LEFT JOIN posted ON claimed_by IS NOT NULL",
}
"""What the statement returns, by the parts that have something to say."""
Part = tuple[str, bool]
"""Its name, and whether it has one row, as it mostly has: then its columns are values, and no arrays of one."""


@dataclass(frozen=True)
class Opening:
    """What the rest of the unit hangs on: without it, nothing else is written.

    ``parts`` are those of a WITH clause, of which ``opened`` has a row where it worked; ``failed`` is raised where not.
    """

    parts: str
    values: Mapping[str, Any]
    failed: Callable[[], Exception]


@dataclass
class Legacy:
    """Gathered while a step runs."""

    owed: list[Envelope] = field(default_factory=list)
    answered: list[Envelope] = field(default_factory=list)
    posted: list[Posting] = field(default_factory=list)
    asked: list[Expectation] = field(default_factory=list)

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple((name, len(rows) == 1) for name in PARTS if (rows := getattr(self, name)))

    def values(self, handover: Handover) -> dict[str, Any]:
        """Of the statement for these parts. A request that is posted and awaited is encoded once."""
        wires = _Wires()
        made: dict[str, Any] = {"posted_lease": handover.lease, "posted_known": handover.known}
        for name, one in self.parts:
            rows = [ROWS[name](each, wires, handover) for each in getattr(self, name)]
            columns = rows[0] if one else [list(column) for column in zip(*rows, strict=True)]
            made |= zip(_names(name), columns, strict=True)
        return made


class _Wires:
    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def __call__(self, envelope: Envelope) -> str:
        known = self._known.get(id(envelope))
        if known is None:
            known = self._known[id(envelope)] = to_column(envelope)
        return known


def _owed(request: Envelope, wire: _Wires, _: Handover) -> Sequence[Any]:
    return request.id, wire(request)


def _answered(answer: Envelope, wire: _Wires, _: Handover) -> Sequence[Any]:
    return answer.id.removesuffix(".answer"), wire(answer)


def _posted(row: Posting, wire: _Wires, handover: Handover) -> Sequence[Any]:
    said = row.envelope
    to_whom = (said.id, said.kind.value, said.flow, said.conversation, row.lane)
    return (*to_whom, wire(said), row.after, said.expires_at, row.order_key, handover.owner_of(row))


def _asked(row: Expectation, wire: _Wires, _: Handover) -> Sequence[Any]:
    asked = row.request
    poll = row.poll_at - asked.time if row.poll_at else None
    return asked.id, asked.flow, asked.conversation, wire(asked), row.due_at - asked.time, poll


ROWS: Mapping[str, Callable[[Any, _Wires, Handover], Sequence[Any]]] = {
    "owed": _owed,
    "answered": _answered,
    "posted": _posted,
    "asked": _asked,
}


@lru_cache
def _names(part: str) -> tuple[str, ...]:
    """Of the values of its columns."""
    return tuple(f"{part}_{column}" for column in COLUMNS[part])


def _rows(part: str, *, one: bool) -> str:
    """What it is written from: ``new (column, ...)``."""
    array = "" if one else "[]"
    kinds = zip(_names(part), COLUMNS[part].values(), strict=True)
    values = ", ".join(f"CAST(:{name} AS {kind}{array})" for name, kind in kinds)
    return f"{f'(VALUES ({values}))' if one else f'unnest({values})'} AS new ({', '.join(COLUMNS[part])})"


@lru_cache
def leaving(parts: tuple[Part, ...], opening: str = "") -> TextClause:
    """Returns the rows of the outbox that were claimed; where there is an opening that worked, one row at least."""
    condition = IF_OPENED if opening else ""
    named = [f"{name} AS ({PARTS[name].format(rows=_rows(name, one=one), condition=condition)})" for name, one in parts]
    sources = ["opened"] * bool(opening) + ["posted"] * any(name == "posted" for name, _ in parts)
    said = SAID[tuple(sources)]
    return text(f"WITH {', '.join([opening, *named] if opening else named)} {said}")
