"""Events about bookings that do not exist: subscribers handle them, and no real booking is affected."""

import json
from datetime import UTC, datetime

from prebook.messaging.codec import WireMessage
from prebook.patterns import trace
from tests.integration.test_messages import VALID_HEADERS


def booking_ended_event(booking_id: str, **headers: str) -> WireMessage:
    """Return a `booking_ended` event. ``headers`` are added to its own; their underscores become hyphens."""
    event_headers = {
        "ce-specversion": "1.0",
        "ce-id": f"{booking_id}.booking_ended",
        "ce-type": "prebook.booking_ended.v1",
        "ce-source": "/prebook/booking",
        "ce-subject": booking_id,
        "ce-time": datetime.now(UTC).isoformat(),
        "prebook-kind": "event",
        "prebook-flow": "booking_ended",
        "prebook-plan": VALID_HEADERS["prebook-plan"],
        "traceparent": trace.new_traceparent(),
    }
    added = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"booking_id": booking_id, "ending": "expired", "reason": "made up"}
    return WireMessage({**event_headers, **added}, json.dumps(body).encode())
