"""Messages that faults publish, built from the suite's AsyncAPI document alone.

Header names are spelled out rather than imported: a foreign program would write them the same way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
from aio_pika import DeliveryMode, Message

from prebook.flows import FLOWS, NOTIFY_RIDER

NUL = "\x00"
"""Valid in JSON and not in PostgreSQL text: storing it fails at every attempt, which no schema check foresees."""
VALID_NOTICE = {"rider_id": "nobody", "notice": "confirmed", "text": "poison that got through"}


@dataclass(frozen=True)
class PoisonSpec:
    """A message that cannot be handled; ``retried`` if only handling it reveals that."""

    cause: str
    body: bytes
    type: str = "prebook.notify_rider.v1"
    retried: bool = False


POISONS: tuple[PoisonSpec, ...] = (
    PoisonSpec("bad_json", b'{"rider_id": "nobody", '),
    PoisonSpec("wrong_schema", msgspec.json.encode({**VALID_NOTICE, "rider_id": 7})),
    PoisonSpec("unknown_type", msgspec.json.encode(VALID_NOTICE), type="prebook.notify_rider.v99"),
    PoisonSpec("attempts_exhausted", msgspec.json.encode({**VALID_NOTICE, "text": NUL}), retried=True),
)
"""Malformed JSON, invalid schema, unknown version and permanent failure, each with its dead-letter cause."""

CRASHING_POISON = PoisonSpec("delivery_limit", msgspec.json.encode({**VALID_NOTICE, "text": NUL}), retried=True)
"""Message at which an armed process crashes. A process that is not armed fails to handle it, so that no rider is
notified, and it is parked for another cause."""


def poison_message(poison: PoisonSpec, conversation_id: str) -> Message:
    """Return a ``notify_rider`` request that cannot be handled."""
    return _message(message_headers(NOTIFY_RIDER.name, poison.type, conversation_id), poison.body, NOTIFY_RIDER.caller)


def malformed_message(conversation_id: str) -> Message:
    """Return a message that no consumer can decode, and that none but notification accepts."""
    headers = message_headers(NOTIFY_RIDER.name, "prebook.notify_rider.v1", conversation_id)
    return _message(headers, b"{", NOTIFY_RIDER.caller)


def expired_request(routing_key: str) -> Message:
    """Return a valid request that expired a day ago, for the flow that ``routing_key`` ends with; it has no effect.

    It is sent in the provider's own name, as a retry that comes back to its queue.
    """
    flow = routing_key.rpartition(".")[2]
    past = datetime.now(UTC) - timedelta(days=1)
    headers = message_headers(flow, MESSAGE_TYPES[flow], f"filler-{uuid4().hex}") | {
        "prebook-expires-at": past.isoformat()
    }
    return _message(headers, VALID_BODIES[flow], FLOWS[flow].provider)


def message_headers(flow: str, message_type: str, conversation_id: str) -> dict[str, str]:
    """Return headers of a request: CloudEvents in binary mode and the suite's own. Source: CloudEvents AMQP binding."""
    return {
        "ce-specversion": "1.0",
        "ce-id": f"{conversation_id}.{flow}",
        "ce-type": message_type,
        "ce-source": f"/prebook/{FLOWS[flow].caller}",
        "ce-subject": conversation_id,
        "ce-time": datetime.now(UTC).isoformat(),
        "ce-partitionkey": conversation_id,
        "prebook-kind": "request",
        "prebook-flow": flow,
        "prebook-plan": ",".join(f"{name}=request_reply" for name in FLOWS),
        "prebook-attempt": "1",
        "traceparent": f"00-{uuid4().hex}-{uuid4().hex[:16]}-01",
    }


def _message(headers: Mapping[str, str], body: bytes, sender: str) -> Message:
    """Return a message in the name of the service ``sender``, whose broker user receivers check."""
    return Message(
        body,
        headers=dict(headers),
        content_type="application/json",
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=headers["ce-id"],
        correlation_id=headers["ce-subject"],
        type=headers["ce-type"],
        user_id=f"prebook_{sender}",
    )


_RIDE = {"pickup_at": "2031-05-01T12:00:00Z", "vehicle_class": "standard", "passengers": 1}
_PICKUP = {"lat": 52.5, "lon": 13.4}
_DROPOFF = {"lat": 52.59, "lon": 13.4}
VALID_BODIES: Mapping[str, bytes] = {
    "quote_fare": msgspec.json.encode({**_RIDE, "pickup": _PICKUP, "dropoff": _DROPOFF}),
    "find_driver": msgspec.json.encode({**_RIDE, "pickup": _PICKUP, "ride_minutes": 21}),
    "ask_fleet": msgspec.json.encode({**_RIDE, "pickup": _PICKUP, "ride_minutes": 21, "fleet": "ada"}),
    "notify_rider": msgspec.json.encode(VALID_NOTICE),
}
MESSAGE_TYPES: Mapping[str, str] = {flow: f"prebook.{flow}.v1" for flow in VALID_BODIES}
