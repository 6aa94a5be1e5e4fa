"""Facts about bookings that there never were: they take effect at their subscribers and concern nobody else."""

import json
from datetime import UTC, datetime

from prebook.messaging.codec import WireMessage
from prebook.patterns import trace
from tests.integration.test_messages import GOOD


def ended(booking_id: str, **headers: str) -> WireMessage:
    """The booking has ended. ``headers`` beside its own, with _ for -."""
    own = {
        "ce-specversion": "1.0",
        "ce-id": f"{booking_id}.booking_ended",
        "ce-type": "prebook.booking_ended.v1",
        "ce-source": "/prebook/booking",
        "ce-subject": booking_id,
        "ce-time": datetime.now(UTC).isoformat(),
        "prebook-kind": "event",
        "prebook-flow": "booking_ended",
        "prebook-plan": GOOD["prebook-plan"],
        "traceparent": trace.new_traceparent(),
    }
    further = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"booking_id": booking_id, "ending": "expired", "reason": "made up"}
    return WireMessage({**own, **further}, json.dumps(body).encode())
