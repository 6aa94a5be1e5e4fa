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
PARTS: Mapping[str, str] = {
    "owed": """
        UPDATE inbox SET request = noted.wire
        FROM unnest(CAST(:owed_id AS text[]), CAST(:owed_wire AS text[])) AS noted (id, wire)
        WHERE message_id = noted.id""",
    "answered": """
        UPDATE inbox SET answer = noted.wire
        FROM unnest(CAST(:answered_id AS text[]), CAST(:answered_wire AS text[])) AS noted (id, wire)
        WHERE message_id = noted.id""",
    "posted": """
        INSERT INTO outbox (message_id, kind, flow, conversation, lane, wire, not_before, expires_at, order_key)
        SELECT id, kind, flow, conversation, lane, wire, now() + after, expires_at, order_key
        FROM unnest(CAST(:id AS text[]), CAST(:kind AS text[]), CAST(:flow AS text[]),
            CAST(:conversation AS text[]), CAST(:lane AS text[]), CAST(:wire AS text[]),
            CAST(:after AS interval[]), CAST(:expires_at AS timestamptz[]), CAST(:order_key AS text[]))
            AS p (id, kind, flow, conversation, lane, wire, after, expires_at, order_key)
        {condition} ON CONFLICT (message_id) DO NOTHING""",
    "asked": """
        INSERT INTO awaited (request_id, flow, conversation, wire, due_at, poll_at)
        SELECT id, flow, conversation, wire, now() + due, now() + poll
        FROM unnest(CAST(:asked_id AS text[]), CAST(:asked_flow AS text[]), CAST(:asked_conversation AS text[]),
            CAST(:asked_wire AS text[]), CAST(:due AS interval[]), CAST(:poll AS interval[]))
            AS a (id, flow, conversation, wire, due, poll)
        {condition} ON CONFLICT (request_id) DO NOTHING""",
}


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
    def parts(self) -> tuple[str, ...]:
        return tuple(name for name in PARTS if getattr(self, name))

    def values(self) -> dict[str, Any]:
        """Of the statement for these parts. A request that is posted and awaited is encoded once."""
        wires = _Wires()
        made: dict[str, Any] = {}
        for name in self.parts:
            made |= COLUMNS[name](getattr(self, name), wires)
        return made


class _Wires:
    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def __call__(self, envelope: Envelope) -> str:
        known = self._known.get(id(envelope))
        if known is None:
            known = self._known[id(envelope)] = to_column(envelope)
        return known


def _owed(requests: Sequence[Envelope], wire: _Wires) -> dict[str, Any]:
    return {"owed_id": [r.id for r in requests], "owed_wire": [wire(r) for r in requests]}


def _answered(answers: Sequence[Envelope], wire: _Wires) -> dict[str, Any]:
    return {
        "answered_id": [a.id.removesuffix(".answer") for a in answers],
        "answered_wire": [wire(a) for a in answers],
    }


def _posted(postings: Sequence[Posting], wire: _Wires) -> dict[str, Any]:
    return {
        "id": [p.envelope.id for p in postings],
        "kind": [p.envelope.kind.value for p in postings],
        "flow": [p.envelope.flow for p in postings],
        "conversation": [p.envelope.conversation for p in postings],
        "lane": [p.lane for p in postings],
        "wire": [wire(p.envelope) for p in postings],
        "after": [p.after for p in postings],
        "expires_at": [p.envelope.expires_at for p in postings],
        "order_key": [p.order_key for p in postings],
    }


def _asked(expectations: Sequence[Expectation], wire: _Wires) -> dict[str, Any]:
    return {
        "asked_id": [e.request.id for e in expectations],
        "asked_flow": [e.request.flow for e in expectations],
        "asked_conversation": [e.request.conversation for e in expectations],
        "asked_wire": [wire(e.request) for e in expectations],
        "due": [e.due_at - e.request.time for e in expectations],
        "poll": [e.poll_at - e.request.time if e.poll_at else None for e in expectations],
    }


COLUMNS: Mapping[str, Callable[[Any, _Wires], dict[str, Any]]] = {
    "owed": _owed,
    "answered": _answered,
    "posted": _posted,
    "asked": _asked,
}


@lru_cache
def leaving(parts: tuple[str, ...], opening: str = "") -> TextClause:
    """Returns a row, where there is an opening only if that worked."""
    condition = IF_OPENED if opening else ""
    named = [f"{name} AS ({PARTS[name].format(condition=condition)})" for name in parts]
    return text(f"WITH {', '.join([opening, *named] if opening else named)} SELECT 1 {'FROM opened' * bool(opening)}")
