"""A redelivery, which is one dead letter in one replay: its target and the message that is sent."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from prebook.contracts.replays import RedeliveryState
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import ATTEMPT_HEADER, DEAD_LETTER_ID_HEADER, EXCHANGE_HEADER, ROUTING_KEY_HEADER
from prebook.replay.redelivery import marked_as_replay


@dataclass(frozen=True, kw_only=True)
class Redelivery:
    """A redelivery in flight.

    ``queue``: queue in which the message failed. ``exchange`` and ``routing_key``: its first target, empty if unknown.
    ``is_sent``: whether the broker has confirmed it.
    """

    replay_id: str
    dead_letter_id: int
    queue: str
    exchange: str
    routing_key: str
    message_id: str
    headers: Mapping[str, str]
    payload: bytes
    is_sent: bool


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """End of a redelivery: resolved by the receiver's inbox at ``received_at``, or refused by the broker."""

    dead_letter_id: int
    state: RedeliveryState
    received_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class PublishTarget:
    """Exchange and routing key that a message is published to."""

    exchange: str
    routing_key: str


TargetsByQueue = Mapping[str, Collection[tuple[str, str]]]
"""(exchange, routing key) pairs that lead to each queue of a service, REDELIVER with the queue's name among them."""
FOREIGN_TARGET = "its first target does not lead to the queue that it failed at"


def redelivery_target(exchange: str, routing_key: str, queue: str, targets: TargetsByQueue) -> PublishTarget | None:
    """Return where to publish a message again; None if its first target does not lead to the queue that it failed at.

    The first target is what the message says of itself, so it must not choose another receiver. A message without one
    goes to its queue, and so does an event: its other subscribers and the archive already have it.
    """
    is_event = exchange == addresses.EVENTS and routing_key.startswith(addresses.event_routing_key(""))
    if is_event or not exchange:
        return PublishTarget(addresses.REDELIVER, queue)
    return PublishTarget(exchange, routing_key) if (exchange, routing_key) in targets.get(queue, ()) else None


def redelivery_message(redelivery: Redelivery) -> WireMessage:
    """Return the message to send: marked as a replay, with its attempt reset to 1 and without an expiry.

    The marks let operations assign the message to its dead letter if it fails again.
    """
    first_target = {EXCHANGE_HEADER: redelivery.exchange, ROUTING_KEY_HEADER: redelivery.routing_key}
    extra = {
        **(first_target if redelivery.exchange else {}),
        DEAD_LETTER_ID_HEADER: str(redelivery.dead_letter_id),
        ATTEMPT_HEADER: "1",
    }
    message = WireMessage(redelivery.headers, redelivery.payload)
    return marked_as_replay(message, redelivery.replay_id, ignore_expiry=True, extra=extra)
