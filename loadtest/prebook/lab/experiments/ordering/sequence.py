"""Sequences of messages with ordering keys, and what the effects of a run say about their order. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate
from random import Random
from typing import Self

from prebook.lab.experiments.ordering.workers import Effect


class KeyDistribution(StrEnum):
    """Frequency of each ordering key in a sequence."""

    UNIFORM = "uniform keys"
    HOT = "hot keys"
    """Zipf's law: the second key occurs half as often as the first, the third a third as often."""
    ONE = "one key"


@dataclass(frozen=True)
class MessageSequence:
    """Messages in the order of their publication: the key and the seconds of work of each."""

    keys: Sequence[str]
    work_s: Sequence[float]

    @property
    def mean_work_s(self) -> float:
        """Mean seconds of work of a message."""
        return sum(self.work_s) / len(self.work_s)

    def as_measured(self, effects: Iterable[Effect]) -> Self:
        """Return the sequence with the seconds that the work has taken; a message without an effect keeps its own."""
        taken_s = {effect.position: effect.ended_s - effect.started_s for effect in effects}
        return replace(self, work_s=[taken_s.get(position, each) for position, each in enumerate(self.work_s)])


def draw_sequence(
    distribution: KeyDistribution, *, messages: int, keys: int, mean_work_s: float, rng: Random
) -> MessageSequence:
    """Return a sequence whose work varies from nothing to twice the mean."""
    names = [f"key-{number:03}" for number in range(keys)]
    match distribution:
        case KeyDistribution.UNIFORM:
            drawn = rng.choices(names, k=messages)
        case KeyDistribution.HOT:
            weights = list(accumulate(1 / rank for rank in range(1, keys + 1)))
            drawn = rng.choices(names, cum_weights=weights, k=messages)
        case KeyDistribution.ONE:
            drawn = names[:1] * messages
    return MessageSequence(drawn, [rng.uniform(0.0, 2 * mean_work_s) for _ in range(messages)])


def count_overtaking(positions: Iterable[int]) -> int:
    """Return how many messages had their effect after that of a later one; ``positions`` in the order of effects."""
    latest = -1
    overtaken = 0
    for position in positions:
        overtaken += position < latest
        latest = max(latest, position)
    return overtaken


def count_overtaking_by_key(effects: Sequence[Effect], keys: Sequence[str]) -> int:
    """Return how many messages had their effect after that of a later one with the same key."""
    positions: Mapping[str, list[int]] = defaultdict(list)
    for effect in effects:
        positions[keys[effect.position]].append(effect.position)
    return sum(map(count_overtaking, positions.values()))


def count_incomplete(effects: Iterable[Effect], messages: int) -> int:
    """Return how many of the messages do not have exactly one effect."""
    times = Counter(effect.position for effect in effects)
    return sum(times[position] != 1 for position in range(messages))


def throughput(effects: Sequence[Effect]) -> float:
    """Return the effects per second, from the first start to the last end; 0 without an effect."""
    if not effects:
        return 0.0
    return len(effects) / (max(each.ended_s for each in effects) - min(each.started_s for each in effects))
