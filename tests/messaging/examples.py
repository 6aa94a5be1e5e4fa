"""Example envelopes and an observer of expired messages, for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prebook.contracts.notification import Notice, NotifyRider
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.messaging.observer import NullObserver
from prebook.patterns.trace import TraceContext

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)


def request(conversation_id: str = "b1", **changes: Any) -> Envelope:
    """A valid one-way request of ``notify_rider``, with ``changes`` to its fields."""
    fields: dict[str, Any] = {
        "id": message_id(conversation_id, "notify_rider", "confirmed"),
        "kind": MessageKind.REQUEST,
        "flow": "notify_rider",
        "body": NotifyRider(rider_id="rosa", notice=Notice.CONFIRMED, text="see you at eight"),
        "source": "booking",
        "conversation_id": conversation_id,
        "time": NOW,
        "plan": PLAN,
        "expires_at": NOW + timedelta(days=3650),
        "trace": TraceContext().child(),
    }
    return Envelope(**{**fields, **changes})


class ExpiryRecorder(NullObserver):
    """Records the id and stage of every expired message."""

    def __init__(self) -> None:
        self.expirations: list[tuple[str, str]] = []

    def on_expired(self, envelope: Envelope, stage: str) -> None:
        self.expirations.append((envelope.id, stage))
