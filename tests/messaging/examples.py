"""Envelopes to test with."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prebook.contracts.notification import Notice, NotifyRider
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.patterns import trace

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)


def request(conversation_id: str = "b1", **changes: Any) -> Envelope:
    given: dict[str, Any] = {
        "id": message_id(conversation_id, "notify_rider", "confirmed"),
        "kind": MessageKind.REQUEST,
        "flow": "notify_rider",
        "body": NotifyRider(rider_id="rosa", notice=Notice.CONFIRMED, text="see you at eight"),
        "source": "booking",
        "conversation_id": conversation_id,
        "time": NOW,
        "plan": PLAN,
        "expires_at": NOW + timedelta(days=3650),
        "traceparent": trace.new_traceparent(),
    }
    return Envelope(**{**given, **changes})
