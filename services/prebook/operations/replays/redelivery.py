"""The message that a replay sends for a dead letter, and its target."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import (
    ATTEMPT_HEADER,
    DEAD_LETTER_ID_HEADER,
    EXCHANGE_HEADER,
    ROUTING_KEY_HEADER,
)
from prebook.replay.redelivery import marked_as_replay


@dataclass(frozen=True, slots=True)
class PublishTarget:
    exchange: str
    routing_key: str


AllowedTargets = Collection[tuple[str, str]]
"""(exchange, routing key) pairs that operations may publish to. Every queue of a service is one, with REDELIVER."""


def redelivery_target(exchange: str, routing_key: str, queue: str, allowed: AllowedTargets) -> PublishTarget:
    """Return the first target of the message if operations may publish there, otherwise the queue that it failed at.

    An event goes to that queue alone: its other subscribers and the archive already have it.
    """
    is_event = exchange == addresses.EVENTS and routing_key.startswith(addresses.event_routing_key(""))
    if not is_event and (exchange, routing_key) in allowed:
        return PublishTarget(exchange, routing_key)
    return PublishTarget(addresses.REDELIVER, queue)


def redelivery_message(
    headers: Mapping[str, str], body: bytes, *, replay_id: str, dead_letter_id: int, origin: PublishTarget
) -> WireMessage:
    """Return the message of a redelivery: marked as a replay, with its attempt reset to 1 and without an expiry."""
    target = {EXCHANGE_HEADER: origin.exchange, ROUTING_KEY_HEADER: origin.routing_key} if origin.exchange else {}
    extra = {**target, DEAD_LETTER_ID_HEADER: str(dead_letter_id), ATTEMPT_HEADER: "1"}
    return marked_as_replay(WireMessage(headers, body), replay_id, ignore_expiry=True, extra=extra)


def edited_headers(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return ``headers`` with ``changes`` applied; a None value removes the header."""
    return {name: value for name, value in {**headers, **changes}.items() if value is not None}
