"""What is compared, and what is concluded from the effects in the order in which they happened. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

import msgspec

from prebook.messaging import addresses
from prebook.patterns.message_groups import partition_of
from prebook.topology.consumed_queues import ConsumedQueue
from prebook.topology.partitions import partitioned_topology
from prebook.topology.values import Binding, Exchange, Queue, Topology

PARTITIONS = 6
PREFETCH = 24
TIMEOUT_MARGIN_S = 60.0
MIN_RATE_PER_S = 16.0
"""A quarter of what one global group did on two busy cores (README)."""
FAILURE_ALLOWANCE_S = 1.0
"""The global group handles nothing while one of its messages waits for its retry."""
GLOBAL_KEY = "everything"
"""The one key of the global group."""


class OrderingStrategy(StrEnum):
    COMPETING_CONSUMERS = "competing_consumers"
    """One queue, any consumer takes the next message, a failed one comes back after its pause."""
    MESSAGE_GROUPS = "message_groups"
    GLOBAL_GROUP = "one_global_group"
    """Every message has the same key."""

    @property
    def inbound(self) -> ConsumedQueue:
        return ConsumedQueue(f"lab.{self}", PREFETCH, 0 if self is OrderingStrategy.COMPETING_CONSUMERS else PARTITIONS)

    def ordering_key(self, key: str) -> str:
        return GLOBAL_KEY if self is OrderingStrategy.GLOBAL_GROUP else key

    def topology(self, consumer: str) -> Topology:
        """What it needs beside the suite's own topology; it is published to under its name, as a replay is."""
        address = self.inbound.address
        partitions = self.inbound.partitions
        queue = Topology(queues=frozenset({Queue(address, consumer=consumer)}))
        return (partitioned_topology(address, partitions, consumer) if partitions else queue) | Topology(
            exchanges=frozenset({Exchange(addresses.REDELIVER)}),
            bindings=frozenset({Binding(addresses.REDELIVER, address, address, to_exchange=partitions > 0)}),
        )


class OrderingLoad(msgspec.Struct, frozen=True, kw_only=True):
    """``failing``: how many messages fail the first time. Each is handled in up to ``work_ms``."""

    keys: int
    per_key: int
    consumers: int
    failing: int
    work_ms: float = 8.0
    seed: int

    @property
    def messages(self) -> int:
        return self.keys * self.per_key

    @property
    def timeout_s(self) -> float:
        """In which any strategy is through with it, unless it hangs."""
        return TIMEOUT_MARGIN_S + self.messages / MIN_RATE_PER_S + self.failing * FAILURE_ALLOWANCE_S

    def key_names(self) -> list[str]:
        return [f"key-{number:03}" for number in range(self.keys)]

    def message_sequence(self) -> list[tuple[str, int]]:
        """(key, position) of each message as they are said: the keys take turns."""
        return [(key, position) for position in range(self.per_key) for key in self.key_names()]

    def failing_messages(self) -> frozenset[str]:
        """``key position`` of those that fail at first; never the last of a key, so that something comes after it."""
        could = [f"{key} {position}" for key, position in self.message_sequence() if position + 1 < self.per_key]
        return frozenset(Random(self.seed).sample(could, min(self.failing, len(could))))


@dataclass(frozen=True)
class AppliedMessage:
    key: str
    position: int
    applied_at_s: float


@dataclass(frozen=True)
class OrderingCounts:
    violations: int
    """Effects that came after one that was said later, within a key."""
    lost: int
    doubled: int


def ordering_counts(load: OrderingLoad, effects: Sequence[AppliedMessage]) -> OrderingCounts:
    """``effects`` in the order in which they happened."""
    latest: dict[str, int] = defaultdict(lambda: -1)
    times: dict[tuple[str, int], int] = defaultdict(int)
    violations = 0
    for effect in effects:
        violations += effect.position < latest[effect.key]
        latest[effect.key] = max(latest[effect.key], effect.position)
        times[effect.key, effect.position] += 1
    lost = sum(times[message] == 0 for message in load.message_sequence())
    return OrderingCounts(violations, lost, sum(count > 1 for count in times.values()))


def mean_stalled_keys(
    load: OrderingLoad, effects: Iterable[AppliedMessage], failed: Mapping[tuple[str, int], float]
) -> float:
    """The blast radius: other keys with work to do of which nothing happened between a failure and its repair; mean."""
    times: dict[str, dict[int, float]] = {key: {} for key in load.key_names()}
    for effect in effects:
        times[effect.key].setdefault(effect.position, effect.applied_at_s)
    radii = [
        _stalled_keys(times, key, began, times[key].get(position, began)) for (key, position), began in failed.items()
    ]
    return sum(radii) / len(radii) if radii else 0.0


def mean_partition_neighbours(
    load: OrderingLoad, failed: Iterable[tuple[str, int]], strategy: OrderingStrategy
) -> float:
    """Other keys in the partition of a key that failed; mean."""
    partitions = strategy.inbound.partitions or 1
    where = {key: partition_of(strategy.ordering_key(key), partitions) for key in load.key_names()}
    counts = [sum(where[key] == where[other] for other in where) - 1 for key, _ in failed]
    return sum(counts) / len(counts) if counts else 0.0


def _stalled_keys(times: Mapping[str, Mapping[int, float]], failed: str, began: float, ended: float) -> int:
    others = (list(moments.values()) for key, moments in times.items() if key != failed)
    return sum(
        max(moments, default=0.0) > ended and not any(began < at < ended for at in moments) for moments in others
    )
