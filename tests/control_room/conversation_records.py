"""Records of a made-up conversation, as services tell them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prebook.contracts.conversations import (
    ConversationChange,
    ConversationRecords,
    ConversationSummary,
    ParkedRecord,
    ReceivedRecord,
    SentRecord,
    Stage,
    StageRecord,
)
from prebook.contracts.dead_letters import DeadLetterState
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS

BEGIN = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
CONVERSATION = "bk_1"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def at(ms: float) -> datetime:
    """Return a time in milliseconds after the request of the ride."""
    return BEGIN + timedelta(milliseconds=ms)


def summary(coupling: Coupling = Coupling.REQUEST_REPLY, **changes: Any) -> ConversationSummary:
    fields: dict[str, Any] = {
        "id": CONVERSATION,
        "couplings": dict.fromkeys(FLOWS, coupling),
        "requested_at": BEGIN,
        "history": (
            ConversationChange(state="requested", at=at(0)),
            ConversationChange(state="priced", at=at(30)),
            ConversationChange(state="matched", at=at(60)),
            ConversationChange(state="confirmed", at=at(60)),
        ),
        "notified_at": at(90),
        "reason": None,
    }
    return ConversationSummary(**{**fields, **changes})


def sent(name: str, created_ms: float, sent_ms: float | None = None, **changes: Any) -> SentRecord:
    fields: dict[str, Any] = {
        "message_id": f"{CONVERSATION}.{name}",
        "type": "x.v1",
        "route": "broker",
        "state": "waiting" if sent_ms is None else "sent",
        "attempt": 1,
        "trace_id": TRACE_ID,
        "created_at": at(created_ms),
        "due_at": at(created_ms),
        "sent_at": None if sent_ms is None else at(sent_ms),
        "failures": 0,
        "error": "",
    }
    return SentRecord(**{**fields, **changes})


def received(name: str, ms: float, replied_ms: float | None = None) -> ReceivedRecord:
    replied_at = None if replied_ms is None else at(replied_ms)
    return ReceivedRecord(
        message_id=f"{CONVERSATION}.{name}", received_at=at(ms), replied_at=replied_at, reply_type=None
    )


def stage(name: str, kind: Stage, ms: float, duration_ms: float = 0.0, **changes: Any) -> StageRecord:
    return StageRecord(
        message_id=f"{CONVERSATION}.{name}", stage=kind, at=at(ms), seconds=duration_ms / 1000, **changes
    )


def parked(name: str, queue: str, ms: float, **changes: Any) -> ParkedRecord:
    fields: dict[str, Any] = {
        "id": 7,
        "message_id": f"{CONVERSATION}.{name}",
        "queue": queue,
        "state": DeadLetterState.PARKED,
        "cause": "attempts_exhausted",
        "error": "ValueError: no such zone",
        "attempts": 5,
        "last_failed_at": at(ms),
    }
    return ParkedRecord(**{**fields, **changes})


def records(service: str, **fields: Any) -> ConversationRecords:
    return ConversationRecords(service=service, **fields)
