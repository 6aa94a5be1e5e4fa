"""What is sent when a parked message is sent again, and where to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.recoverability import dead_letter
from prebook.operations.dead_letters.record import is_transport_header


@dataclass(frozen=True, slots=True)
class PublishTarget:
    exchange: str
    routing_key: str


AllowedTargets = Collection[tuple[str, str]]
"""(exchange, key) that operations may publish to; every queue of a service is one, with exchange REDELIVER."""


def redelivery_target(exchange: str, routing_key: str, queue: str, allowed: AllowedTargets) -> PublishTarget:
    """Its first address, where that is ours to use; else the queue that it failed at.

    A fact goes to that queue alone: its other subscribers and the archive have heard it.
    """
    told = exchange == addresses.EVENTS and routing_key.startswith(addresses.event_routing_key(""))
    if not told and (exchange, routing_key) in allowed:
        return PublishTarget(exchange, routing_key)
    return PublishTarget(addresses.REDELIVER, queue)


def redelivery_message(
    headers: Mapping[str, str], body: bytes, *, replay_id: str, dead_letter_id: int, origin: PublishTarget
) -> WireMessage:
    """The same message on its first attempt again, marked, and without an end to its time."""
    said = {
        name: value for name, value in headers.items() if not is_transport_header(name) and name != "prebook-expires-at"
    }
    known = (
        {dead_letter.EXCHANGE_HEADER: origin.exchange, dead_letter.ROUTING_KEY_HEADER: origin.routing_key}
        if origin.exchange
        else {}
    )
    marks = {
        dead_letter.REPLAY_ID_HEADER: replay_id,
        dead_letter.DEAD_LETTER_ID_HEADER: str(dead_letter_id),
        "prebook-attempt": "1",
    }
    return WireMessage({**said, **known, **marks}, body)


def edited_headers(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """``changes`` over ``headers``; None takes one away."""
    return {name: value for name, value in {**headers, **changes}.items() if value is not None}
