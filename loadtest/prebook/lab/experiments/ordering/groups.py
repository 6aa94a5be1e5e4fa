"""Message groups of the sweep: partitions on consumers, and the throughput that follows from both. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from prebook.lab.experiments.ordering.sequence import KeyDistribution, MessageSequence


@dataclass(frozen=True)
class Arrangement:
    """Consumers of a sequence. ``partitions``: number of queues with a single active consumer; 0: one shared queue."""

    keys: KeyDistribution
    consumers: int
    partitions: int = 0

    @property
    def name(self) -> str:
        """Name in tables."""
        if self.partitions:
            how = f"{self.partitions} partition{'s' if self.partitions > 1 else ''}"
        else:
            how = "competing consumers" if self.consumers > 1 else "one consumer"
        return f"{how}, {self.keys}"

    def partition_of(self, key: str) -> int:
        """Return the partition of a key. The suite's own groups have at most 16; these have any number."""
        return crc32(key.encode()) % self.partitions


@dataclass(frozen=True)
class Prediction:
    """Throughput that follows from a sequence and its arrangement, in messages per second.

    ``groups``: number of partitions that have a message. ``bound``: min(groups, consumers) / work of a message.
    ``expected``: bounded by the consumer with the most work, too. ``limit``: what limits the throughput, in words.
    """

    groups: int
    bound: float
    expected: float
    limit: str


def predict(arrangement: Arrangement, sequence: MessageSequence) -> Prediction:
    """Return the prediction for a queue that is never empty."""
    per_consumer = 1 / sequence.mean_work_s
    consumers = arrangement.consumers
    if not arrangement.partitions:
        bound = consumers * per_consumer
        return Prediction(consumers, bound, bound, "the consumers")
    partitions = [arrangement.partition_of(key) for key in sequence.keys]
    groups = len(set(partitions))
    busiest = busiest_share([number % consumers for number in partitions], sequence.work_s)
    bound = min(groups, consumers) * per_consumer
    limit = f"the busiest consumer, with {busiest:.0%} of the work"
    return Prediction(groups, bound, min(bound, per_consumer / busiest), "one group" if groups == 1 else limit)


def busiest_share(consumer_of: Sequence[int], work_s: Sequence[float]) -> float:
    """Return the share of the work that the busiest consumer has; ``consumer_of``: consumer of each message."""
    work = Counter[int]()
    for consumer, seconds in zip(consumer_of, work_s, strict=True):
        work[consumer] += round(seconds * 1_000_000)
    return max(work.values()) / work.total()
