"""Receivers of a replay: queues, and the routing keys that they subscribe to."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import EXPIRES_AT_HEADER, REPLAY_ID_HEADER
from prebook.replay.archived_message import ArchivedMessage
from prebook.topology.values import Topology


class NotSubscribed(Exception):
    """The service has no queue bound to events; the text lists the services that have one."""


@dataclass(frozen=True)
class Receiver:
    """A queue. ``service`` is empty if no service owns it. ``routing_keys``: None subscribes to all."""

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
    """Return the queues through which these services receive events, each with its bound routing keys.

    Raises NotSubscribed.
    """
    subscribed: dict[str, list[Receiver]] = defaultdict(list)
    for queue in topology.logical_queues():
        if keys := _bound_routing_keys(queue.address, topology):
            subscribed[queue.consumer].append(Receiver(queue.address, queue.consumer, keys))
    if missing := sorted(set(names) - subscribed.keys()):
        raise NotSubscribed(
            f"{', '.join(missing)} subscribes to no events; these services do: {', '.join(sorted(subscribed))}"
        )
    return [receiver for name in sorted(set(names)) for receiver in subscribed[name]]


def marked_as_replay(message: ArchivedMessage, replay_id: str, *, ignore_expiry: bool = False) -> WireMessage:
    """Return the message marked as a replay, with its id and time. ``ignore_expiry`` removes its expiry."""
    headers = {
        name: value
        for name, value in message.headers.items()
        if not (name.startswith("x-") or name == REPLAY_ID_HEADER)
    }
    kept = {name: value for name, value in headers.items() if not (ignore_expiry and name == EXPIRES_AT_HEADER)}
    return WireMessage({**kept, REPLAY_ID_HEADER: replay_id}, message.wire.body)


def _bound_routing_keys(queue: str, topology: Topology) -> frozenset[str]:
    return frozenset(
        b.routing_key for b in topology.bindings if (b.exchange, b.destination) == (addresses.EVENTS, queue)
    )
