"""Receivers of a replay: queues, and the routing keys that they subscribe to."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from prebook.replay.archived_message import ArchivedMessage
from prebook.topology.values import Topology


class NotSubscribed(Exception):
    """The service has no queue bound to events; the text lists the services that have one."""


@dataclass(frozen=True)
class Receiver:
    """A queue that gets replayed messages.

    ``service``: owner of the queue; empty if the queue belongs to no service of the suite.
    ``routing_keys``: keys that the queue subscribes to; None for all.
    """

    queue: str
    service: str = ""
    routing_keys: frozenset[str] | None = None

    def subscribes_to(self, message: ArchivedMessage) -> bool:
        """Return whether the queue subscribes to the routing key of ``message``."""
        return self.routing_keys is None or message.routing_key in self.routing_keys


@dataclass(frozen=True)
class ArchiveRedelivery:
    """One archived message to one receiver. ``wire``: the message as it is sent."""

    receiver: Receiver
    message: ArchivedMessage
    wire: WireMessage


def event_receivers(names: Collection[str], topology: Topology) -> list[Receiver]:
    """Return the queues through which the named services receive events, each with its bound routing keys.

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


def _bound_routing_keys(queue: str, topology: Topology) -> frozenset[str]:
    return frozenset(
        b.routing_key for b in topology.bindings if (b.exchange, b.destination) == (addresses.EVENTS, queue)
    )
