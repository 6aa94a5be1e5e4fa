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
from prebook.messaging.unit_of_work import Expectation, Posting
from prebook.postgres.wire import to_column

IF_OPENED = "WHERE EXISTS (SELECT FROM opened)"
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "owed": {"id": "text", "wire": "text"},
    "answered": {"id": "text", "wire": "text"},
    "posted": {
        **dict.fromkeys(("id", "kind", "flow", "conversation", "lane", "wire"), "text"),
        "after": "interval",
        "expires_at": "timestamptz",
        "order_key": "text",
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
    "posted": """
        INSERT INTO outbox (message_id, kind, flow, conversation, lane, wire, not_before, expires_at, order_key)
        SELECT id, kind, flow, conversation, lane, wire, now() + after, expires_at, order_key
        FROM {rows} {condition} ON CONFLICT (message_id) DO NOTHING""",
    "asked": """
        INSERT INTO awaited (request_id, flow, conversation, wire, due_at, poll_at)
        SELECT id, flow, conversation, wire, now() + due, now() + poll
        FROM {rows} {condition} ON CONFLICT (request_id) DO NOTHING""",
}
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

    def values(self) -> dict[str, Any]:
        """Of the statement for these parts. A request that is posted and awaited is encoded once."""
        wires = _Wires()
        made: dict[str, Any] = {}
        for name, one in self.parts:
            rows = [ROWS[name](each, wires) for each in getattr(self, name)]
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


def _owed(request: Envelope, wire: _Wires) -> Sequence[Any]:
    return request.id, wire(request)


def _answered(answer: Envelope, wire: _Wires) -> Sequence[Any]:
    return answer.id.removesuffix(".answer"), wire(answer)


def _posted(row: Posting, wire: _Wires) -> Sequence[Any]:
    said = row.envelope
    to_whom = (said.id, said.kind.value, said.flow, said.conversation, row.lane)
    return (*to_whom, wire(said), row.after, said.expires_at, row.order_key)


def _asked(row: Expectation, wire: _Wires) -> Sequence[Any]:
    asked = row.request
    poll = row.poll_at - asked.time if row.poll_at else None
    return asked.id, asked.flow, asked.conversation, wire(asked), row.due_at - asked.time, poll


ROWS: Mapping[str, Callable[[Any, _Wires], Sequence[Any]]] = {
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
    """Returns a row, where there is an opening only if that worked."""
    condition = IF_OPENED if opening else ""
    named = [f"{name} AS ({PARTS[name].format(rows=_rows(name, one=one), condition=condition)})" for name, one in parts]
    return text(f"WITH {', '.join([opening, *named] if opening else named)} SELECT 1 {'FROM opened' * bool(opening)}")
