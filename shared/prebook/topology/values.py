"""Values of a topology: exchanges, queues, bindings, policies, grants and arrows of diagrams.

Parts of a topology are joined by ``|``.
"""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Self

from prebook.messaging.addresses import ExchangeName, QueueName
from prebook.messaging.envelope import MessageKind

Arguments = tuple[tuple[str, str | int], ...]
"""Sorted pairs, so that equal arguments are equal values and can be members of a set."""


def arguments(**pairs: str | int) -> Arguments:
    """Build arguments: ``arguments(x_queue_type="quorum")`` is ``(("x-queue-type", "quorum"),)``."""
    return tuple(sorted((name.replace("_", "-"), value) for name, value in pairs.items()))


QUORUM = arguments(x_queue_type="quorum")


@dataclass(frozen=True, order=True)
class Exchange:
    """Exchange. ``internal``: only other exchanges may publish to it.

    No exchange of the model is: the permissions say the same, and RabbitMQ's Messaging Topology Operator cannot declare
    one. A live broker may have some.
    """

    name: ExchangeName
    type: str = "topic"
    durable: bool = True
    arguments: Arguments = ()
    internal: bool = False


@dataclass(frozen=True, order=True)
class Queue:
    """Queue. ``consumer``: the consuming service, which the broker does not know, so it is not compared."""

    name: QueueName
    arguments: Arguments = QUORUM
    durable: bool = True
    consumer: str = field(default="", compare=False)
    partitioned_queue: QueueName | None = field(default=None, compare=False)
    """Message group that the queue is a partition of; None for a plain queue."""

    @property
    def address(self) -> QueueName:
        """Name under which messages of the queue are parked, and to which they return."""
        return self.partitioned_queue or self.name


@dataclass(frozen=True, order=True)
class Binding:
    """Binding to the queue ``destination``, or to an exchange if ``to_exchange``.

    A headers exchange matches ``arguments`` instead of the routing key.
    """

    exchange: ExchangeName
    routing_key: str
    destination: ExchangeName | QueueName
    arguments: Arguments = ()
    to_exchange: bool = False


@dataclass(frozen=True, order=True)
class Policy:
    """Policy of the broker. ``pattern``: regular expression over queue names."""

    name: str
    pattern: str
    definition: Arguments
    apply_to: str = "queues"
    priority: int = 0


ANY_ROUTING_KEY = "#"
"""Routing key of a grant for all keys."""


@dataclass(frozen=True, order=True)
class Grant:
    """Permission of ``account`` to publish to ``exchange`` with this routing key, or any if it is ANY_ROUTING_KEY."""

    account: str
    exchange: ExchangeName
    routing_key: str


@dataclass(frozen=True, order=True)
class MessageGrant:
    """Permission of ``account`` to have messages of one kind and flow handled at a queue.

    The messages arrive through ``exchange`` with ``routing_key``. The broker checks a Grant, which knows neither kind
    nor flow; the consumer checks this one.
    """

    queue: QueueName
    """Address of the queue or of its message group."""
    account: str
    exchange: ExchangeName
    routing_key: str
    kind: MessageKind
    flow: str
    """Name of the flow, or of the event type if ``kind`` is EVENT."""


@dataclass(frozen=True, order=True)
class ReadGrant:
    """Permission of ``account`` to consume a queue that belongs to no service: the archive or a subscriber's."""

    account: str
    queue: QueueName


class Leg(StrEnum):
    """Part of a flow that an arrow belongs to, in the order of drawing."""

    REQUEST = "request"
    REPLY = "reply"
    POLL = "poll"
    EVENT = "event"


@dataclass(frozen=True, order=True)
class Arrow:
    """Arrow of a diagram. Data flows from source to target; ``pulled``: the target decides when."""

    swimlane: str
    """Flow or event type that the arrow belongs to."""
    leg: Leg
    hop: int
    """Position of the arrow in its leg, from 0."""
    source: str
    target: str
    label: str
    pulled: bool


@dataclass(frozen=True)
class Topology:
    """Everything that the broker needs for a set of flows, and the arrows of its diagram."""

    exchanges: frozenset[Exchange] = frozenset()
    queues: frozenset[Queue] = frozenset()
    bindings: frozenset[Binding] = frozenset()
    policies: frozenset[Policy] = frozenset()
    grants: frozenset[Grant] = frozenset()
    message_grants: frozenset[MessageGrant] = frozenset()
    read_grants: frozenset[ReadGrant] = frozenset()
    observers: frozenset[str] = frozenset()
    """Accounts that read the management API and may use neither exchanges nor queues."""
    arrows: frozenset[Arrow] = frozenset()

    def __or__(self, other: Self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)})

    def consumed_queues(self) -> tuple[Queue, ...]:
        """Return the queues that services consume, sorted by name."""
        return tuple(sorted(queue for queue in self.queues if queue.consumer))

    def logical_queues(self) -> tuple[Queue, ...]:
        """Return one queue per consumed address: the partitions of a message group count as one queue."""
        return tuple({queue.address: queue for queue in reversed(self.consumed_queues())}.values())[::-1]

    def partition_count(self, partitioned_queue: str | None) -> int:
        """Return the number of partitions of a message group; 0 if there is no such group."""
        return sum(bool(partitioned_queue) and queue.partitioned_queue == partitioned_queue for queue in self.queues)
