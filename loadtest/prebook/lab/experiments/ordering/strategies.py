"""Strategies and load of the ordering experiment, and counts of order violations. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

import msgspec

from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments.drawing import message_path
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.patterns.message_groups import partition_of
from prebook.topology.consumed_queues import ConsumedQueue
from prebook.topology.partitions import partitioned_topology
from prebook.topology.values import Binding, Exchange, Queue, Topology

PARTITIONS = 6
PREFETCH = 24
TIMEOUT_MARGIN_S = 60.0
MIN_RATE_PER_S = 16.0
"""A sixth of the measured rate of one global group on two cores (docs/results/ordering.md)."""
FAILURE_ALLOWANCE_S = 1.0
"""Extra time per failing message: the global group handles nothing while one waits for its retry."""
GLOBAL_KEY = "everything"
"""The only ordering key of the global group."""


class OrderingStrategy(StrEnum):
    """Consumer arrangements under comparison. Sources: EIP, Competing Consumers; JMS, message groups."""

    COMPETING_CONSUMERS = "competing_consumers"
    """One queue; any consumer takes the next message, and a failed one returns after its retry delay."""
    MESSAGE_GROUPS = "message_groups"
    GLOBAL_GROUP = "one_global_group"
    """One message group for all messages."""

    @property
    def inbound(self) -> ConsumedQueue:
        """Queue from which the consumers receive."""
        return ConsumedQueue(f"lab.{self}", PREFETCH, 0 if self is OrderingStrategy.COMPETING_CONSUMERS else PARTITIONS)

    def ordering_key(self, key: str) -> str:
        """Return the ordering key of messages with ``key``."""
        return GLOBAL_KEY if self is OrderingStrategy.GLOBAL_GROUP else key

    def topology(self, consumer: str) -> Topology:
        """Return queues and bindings in addition to the suite's; the redelivery exchange routes to them by name."""
        address = QueueName(self.inbound.address)
        partitions = self.inbound.partitions
        queue = Topology(queues=frozenset({Queue(address, consumer=consumer)}))
        path = message_path(
            self.replace("_", " "), OFFER_SETTLED.publisher, addresses.REDELIVER, address, *OFFER_SETTLED.subscribers
        )
        queues = partitioned_topology(address, partitions, consumer) if partitions else queue
        return (
            queues
            | path
            | Topology(
                exchanges=frozenset({Exchange(addresses.REDELIVER)}),
                bindings=frozenset({Binding(addresses.REDELIVER, address, address, to_exchange=partitions > 0)}),
            )
        )


class OrderingLoad(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of a run; ``failing`` of them fail on the first attempt, and each takes up to ``work_ms`` to handle."""

    keys: int
    per_key: int
    consumers: int
    failing: int
    work_ms: float = 8.0
    seed: int

    @property
    def messages(self) -> int:
        """Total number of messages."""
        return self.keys * self.per_key

    @property
    def timeout_s(self) -> float:
        """Seconds within which every strategy finishes unless it hangs."""
        return TIMEOUT_MARGIN_S + self.messages / MIN_RATE_PER_S + self.failing * FAILURE_ALLOWANCE_S

    def key_names(self) -> list[str]:
        """Return all keys."""
        return [f"key-{number:03}" for number in range(self.keys)]

    def message_sequence(self) -> list[tuple[str, int]]:
        """Return (key, position) of each message in publishing order: the keys take turns."""
        return [(key, position) for position in range(self.per_key) for key in self.key_names()]

    def failing_messages(self) -> frozenset[str]:
        """Return ``key position`` of each message that fails; never the last of a key, so that another one follows."""
        candidates = [f"{key} {position}" for key, position in self.message_sequence() if position + 1 < self.per_key]
        return frozenset(Random(self.seed).sample(candidates, min(self.failing, len(candidates))))


@dataclass(frozen=True)
class AppliedMessage:
    """Effect of a message, with its time in Unix seconds."""

    key: str
    position: int
    applied_at_s: float


@dataclass(frozen=True)
class OrderingCounts:
    """Counts over all effects of a run."""

    violations: int
    """Effects that follow the effect of a later message with the same key."""
    lost: int
    duplicated: int


def ordering_counts(load: OrderingLoad, effects: Sequence[AppliedMessage]) -> OrderingCounts:
    """Count violations, lost and duplicated messages; ``effects`` are in order of their commits."""
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
    """Return the mean blast radius: other keys with pending messages and no effect between a failure and its retry."""
    times: dict[str, dict[int, float]] = {key: {} for key in load.key_names()}
    for effect in effects:
        times[effect.key].setdefault(effect.position, effect.applied_at_s)
    radii = [
        _stalled_keys(times, key, failed_at_s, times[key].get(position, failed_at_s))
        for (key, position), failed_at_s in failed.items()
    ]
    return sum(radii) / len(radii) if radii else 0.0


def mean_partition_neighbours(
    load: OrderingLoad, failed: Iterable[tuple[str, int]], strategy: OrderingStrategy
) -> float:
    """Return the mean number of other keys in the partition of a failed message."""
    partitions = strategy.inbound.partitions or 1
    partition_by_key = {key: partition_of(strategy.ordering_key(key), partitions) for key in load.key_names()}
    counts = [
        sum(partition_by_key[key] == partition_by_key[other] for other in partition_by_key) - 1 for key, _ in failed
    ]
    return sum(counts) / len(counts) if counts else 0.0


def _stalled_keys(
    times: Mapping[str, Mapping[int, float]], failed: str, failed_at_s: float, retried_at_s: float
) -> int:
    others = (list(moments.values()) for key, moments in times.items() if key != failed)
    return sum(
        max(moments, default=0.0) > retried_at_s and not any(failed_at_s < at_s < retried_at_s for at_s in moments)
        for moments in others
    )
