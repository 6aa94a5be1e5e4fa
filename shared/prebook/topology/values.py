"""What a broker holds and what a picture shows, as values. A topology is joined from parts by ``|``."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Self

Arguments = tuple[tuple[str, str | int], ...]
"""Sorted pairs: equal arguments are equal values, and can be members of a set."""


def arguments(**pairs: str | int) -> Arguments:
    """``arguments(x_queue_type="quorum")`` is ``(("x-queue-type", "quorum"),)``."""
    return tuple(sorted((name.replace("_", "-"), value) for name, value in pairs.items()))


QUORUM = arguments(x_queue_type="quorum")


@dataclass(frozen=True, order=True)
class Exchange:
    """``internal``: other exchanges alone may publish to it."""

    name: str
    type: str = "topic"
    durable: bool = True
    arguments: Arguments = ()
    internal: bool = False


@dataclass(frozen=True, order=True)
class Queue:
    """``consumer`` is the service that takes from it; the broker does not know that, so it is not compared."""

    name: str
    arguments: Arguments = QUORUM
    durable: bool = True
    consumer: str = field(default="", compare=False)
    partitioned_queue: str = field(default="", compare=False)
    """The message group that it is a partition of."""

    @property
    def address(self) -> str:
        """The name that its messages are parked under and returned to."""
        return self.partitioned_queue or self.name


@dataclass(frozen=True, order=True)
class Binding:
    """``destination`` is a queue, or an exchange if ``to_exchange``. A headers exchange is bound by ``arguments``."""

    exchange: str
    routing_key: str
    destination: str
    arguments: Arguments = ()
    to_exchange: bool = False


@dataclass(frozen=True, order=True)
class Policy:
    """``pattern`` is a regular expression over queue names."""

    name: str
    pattern: str
    definition: Arguments
    apply_to: str = "queues"
    priority: int = 0


ANY_ROUTING_KEY = "#"


@dataclass(frozen=True, order=True)
class Grant:
    """``account`` may publish to ``exchange`` with exactly this routing key, or with any if it is ANY_ROUTING_KEY."""

    account: str
    exchange: str
    routing_key: str


@dataclass(frozen=True, order=True)
class ReadGrant:
    """``account`` may read a stream, which takes nothing away from it."""

    account: str
    queue: str


class Leg(StrEnum):
    """The part of a flow that an arrow belongs to, in the order of drawing."""

    REQUEST = "request"
    REPLY = "reply"
    POLL = "poll"
    EVENT = "event"


@dataclass(frozen=True, order=True)
class Arrow:
    """One arrow. Data goes from source to target; ``pulled`` says that the target decides when."""

    swimlane: str
    """The flow or event type that the arrow belongs to."""
    leg: Leg
    hop: int
    source: str
    target: str
    label: str
    pulled: bool


@dataclass(frozen=True)
class Topology:
    exchanges: frozenset[Exchange] = frozenset()
    queues: frozenset[Queue] = frozenset()
    bindings: frozenset[Binding] = frozenset()
    policies: frozenset[Policy] = frozenset()
    grants: frozenset[Grant] = frozenset()
    read_grants: frozenset[ReadGrant] = frozenset()
    arrows: frozenset[Arrow] = frozenset()

    def __or__(self, other: Self) -> Self:
        return type(self)(**{f.name: getattr(self, f.name) | getattr(other, f.name) for f in fields(self)})

    def consumed_queues(self) -> tuple[Queue, ...]:
        """The queues that services take from, by name."""
        return tuple(sorted(queue for queue in self.queues if queue.consumer))

    def logical_queues(self) -> tuple[Queue, ...]:
        """One queue for each address that services take from: a message group is one, whatever its partitions."""
        return tuple({queue.address: queue for queue in reversed(self.consumed_queues())}.values())[::-1]

    def partition_count(self, partitioned_queue: str) -> int:
        """0 where there is no such group."""
        return sum(bool(partitioned_queue) and queue.partitioned_queue == partitioned_queue for queue in self.queues)
