"""What is compared, and what is concluded from the effects in the order in which they happened. No I/O."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

import msgspec

from prebook.messaging import addresses
from prebook.patterns.message_groups import partition_of
from prebook.rabbit.consumed_queues import Inbound
from prebook.topology.partitions import grouped
from prebook.topology.values import Binding, Exchange, Queue, Topology

PARTITIONS, PREFETCH = 6, 24
SPARE_S, SLOWEST_PER_S, FAILURE_S = 60.0, 16.0, 1.0
"""A quarter of what one global group did on two busy cores (README); it stands still while a message of it waits."""
EVERYTHING = "everything"
"""The one key of the global group."""


class Arrangement(StrEnum):
    NAIVE = "competing_consumers"
    """One queue, any consumer takes the next message, a failed one comes back after its pause."""
    GROUPS = "message_groups"
    GLOBAL = "one_global_group"
    """Every message has the same key."""

    @property
    def inbound(self) -> Inbound:
        return Inbound(f"lab.{self}", PREFETCH, 0 if self is Arrangement.NAIVE else PARTITIONS)

    def group_key(self, key: str) -> str:
        return EVERYTHING if self is Arrangement.GLOBAL else key

    def declared(self, consumer: str) -> Topology:
        """What it needs beside the suite's own topology; it is published to under its name, as a replay is."""
        address, partitions = self.inbound.address, self.inbound.partitions
        queue = Topology(queues=frozenset({Queue(address, consumer=consumer)}))
        return (grouped(address, partitions, consumer) if partitions else queue) | Topology(
            exchanges=frozenset({Exchange(addresses.REDELIVER)}),
            bindings=frozenset({Binding(addresses.REDELIVER, address, address, onward=partitions > 0)}),
        )


class Load(msgspec.Struct, frozen=True, kw_only=True):
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
    def within_s(self) -> float:
        """In which any arrangement is through with it, unless it hangs."""
        return SPARE_S + self.messages / SLOWEST_PER_S + self.failing * FAILURE_S

    def names(self) -> list[str]:
        return [f"key-{number:03}" for number in range(self.keys)]

    def plan(self) -> list[tuple[str, int]]:
        """(key, place) of each message as they are said: the keys take turns."""
        return [(key, place) for place in range(self.per_key) for key in self.names()]

    def failures(self) -> frozenset[str]:
        """``key place`` of those that fail at first; never the last of a key, so that something comes after it."""
        could = [f"{key} {place}" for key, place in self.plan() if place + 1 < self.per_key]
        return frozenset(Random(self.seed).sample(could, min(self.failing, len(could))))


@dataclass(frozen=True)
class Effect:
    key: str
    place: int
    at_s: float


@dataclass(frozen=True)
class Counts:
    violations: int
    """Effects that came after one that was said later, within a key."""
    lost: int
    doubled: int


def counted(load: Load, effects: Sequence[Effect]) -> Counts:
    """``effects`` in the order in which they happened."""
    latest: dict[str, int] = defaultdict(lambda: -1)
    times: dict[tuple[str, int], int] = defaultdict(int)
    violations = 0
    for effect in effects:
        violations += effect.place < latest[effect.key]
        latest[effect.key] = max(latest[effect.key], effect.place)
        times[effect.key, effect.place] += 1
    lost = sum(times[message] == 0 for message in load.plan())
    return Counts(violations, lost, sum(count > 1 for count in times.values()))


def standing_still(load: Load, effects: Iterable[Effect], failed: Mapping[tuple[str, int], float]) -> float:
    """The blast radius: other keys with work to do of which nothing happened between a failure and its repair; mean."""
    times: dict[str, dict[int, float]] = {key: {} for key in load.names()}
    for effect in effects:
        times[effect.key].setdefault(effect.place, effect.at_s)
    radii = [_held(times, key, began, times[key].get(place, began)) for (key, place), began in failed.items()]
    return sum(radii) / len(radii) if radii else 0.0


def sharing(load: Load, failed: Iterable[tuple[str, int]], arrangement: Arrangement) -> float:
    """Other keys in the partition of a key that failed; mean."""
    partitions = arrangement.inbound.partitions or 1
    where = {key: partition_of(arrangement.group_key(key), partitions) for key in load.names()}
    counts = [sum(where[key] == where[other] for other in where) - 1 for key, _ in failed]
    return sum(counts) / len(counts) if counts else 0.0


def _held(times: Mapping[str, Mapping[int, float]], failed: str, began: float, ended: float) -> int:
    others = (list(moments.values()) for key, moments in times.items() if key != failed)
    return sum(
        max(moments, default=0.0) > ended and not any(began < at < ended for at in moments) for moments in others
    )
