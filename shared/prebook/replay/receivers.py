"""Who gets what is sent again: queues by name, and of which keys."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.recoverability.dead_letter import REPLAY_ID_HEADER
from prebook.replay.archived_message import ArchivedMessage
from prebook.topology.values import Topology

EXPIRES_AT = "prebook-expires-at"


class NotSubscribed(Exception):
    """No queue of that service is bound to events; the text says which services' are."""


@dataclass(frozen=True)
class Receiver:
    """``service`` is empty where the queue belongs to none of ours. ``keys``: None takes all."""

    queue: str
    service: str = ""
    routing_keys: frozenset[str] | None = None

    def subscribes_to(self, message: ArchivedMessage) -> bool:
        return self.routing_keys is None or message.routing_key in self.routing_keys


@dataclass(frozen=True)
class ArchiveRedelivery:
    receiver: Receiver
    message: ArchivedMessage
    wire: WireMessage


def event_receivers(names: Collection[str], topology: Topology) -> list[Receiver]:
    """The queues through which these services hear events, each with the keys that it is bound to.

    Raises NotSubscribed.
    """
    hearing: dict[str, list[Receiver]] = defaultdict(list)
    for queue in topology.logical_queues():
        if keys := _bound_routing_keys(queue.address, topology):
            hearing[queue.consumer].append(Receiver(queue.address, queue.consumer, keys))
    if deaf := sorted(set(names) - hearing.keys()):
        raise NotSubscribed(f"{', '.join(deaf)} hears no events; those who do: {', '.join(sorted(hearing))}")
    return [receiver for name in sorted(set(names)) for receiver in hearing[name]]


def marked_as_replay(message: ArchivedMessage, replay_id: str, *, ignore_expiry: bool = False) -> WireMessage:
    """The same message with its id and its time, marked. ``revive`` takes a question's end of time away."""
    said = {
        name: value
        for name, value in message.headers.items()
        if not (name.startswith("x-") or name == REPLAY_ID_HEADER)
    }
    lasting = {name: value for name, value in said.items() if not (ignore_expiry and name == EXPIRES_AT)}
    return WireMessage({**lasting, REPLAY_ID_HEADER: replay_id}, message.wire.body)


def _bound_routing_keys(queue: str, topology: Topology) -> frozenset[str]:
    return frozenset(
        b.routing_key for b in topology.bindings if (b.exchange, b.destination) == (addresses.EVENTS, queue)
    )
