"""Who gets what is sent again: queues by name, and of which keys."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from prebook.messaging import addresses
from prebook.messaging.codec import Wire
from prebook.messaging.recoverability.dead_letter import REPLAY
from prebook.replay.archived_message import Kept
from prebook.topology.values import Topology

EXPIRES_AT = "prebook-expires-at"


class NotSubscribed(Exception):
    """No queue of that service is bound to events; the text says which services' are."""


@dataclass(frozen=True)
class Receiver:
    """``service`` is empty where the queue belongs to none of ours. ``keys``: None takes all."""

    queue: str
    service: str = ""
    keys: frozenset[str] | None = None

    def hears(self, kept: Kept) -> bool:
        return self.keys is None or kept.key in self.keys


@dataclass(frozen=True)
class Sending:
    receiver: Receiver
    kept: Kept
    wire: Wire


def of_services(names: Collection[str], topology: Topology) -> list[Receiver]:
    """The queues through which these services hear events, each with the keys that it is bound to.

    Raises NotSubscribed.
    """
    hearing: dict[str, list[Receiver]] = defaultdict(list)
    for queue in topology.addresses():
        if keys := _keys(queue.address, topology):
            hearing[queue.consumer].append(Receiver(queue.address, queue.consumer, keys))
    if deaf := sorted(set(names) - hearing.keys()):
        raise NotSubscribed(f"{', '.join(deaf)} hears no events; those who do: {', '.join(sorted(hearing))}")
    return [receiver for name in sorted(set(names)) for receiver in hearing[name]]


def outgoing(kept: Kept, replay_id: str, *, revive: bool = False) -> Wire:
    """The same message with its id and its time, marked. ``revive`` takes a question's end of time away."""
    said = {name: value for name, value in kept.headers.items() if not (name.startswith("x-") or name == REPLAY)}
    lasting = {name: value for name, value in said.items() if not (revive and name == EXPIRES_AT)}
    return Wire({**lasting, REPLAY: replay_id}, kept.wire.body)


def _keys(queue: str, topology: Topology) -> frozenset[str]:
    return frozenset(b.key for b in topology.bindings if (b.exchange, b.queue) == (addresses.EVENTS, queue))
