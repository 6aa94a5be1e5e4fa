"""What one poison message among many is, what must become of it, and what is concluded about the others. No I/O."""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from random import Random
from statistics import median

import msgspec

from prebook.patterns import addresses
from prebook.topology.values import Binding, Exchange, Queue, Topology

QUEUE = "lab.poison"
PREFETCH, ATTEMPTS, PAUSE_S = 32, 5, 0.2
"""``PAUSE_S`` is a rung of the suite's ladder, and short: every attempt falls among the others."""
MOST_RATIO = 1.2
CONTROLS = 3
"""Runs without poison in each round."""


class Poison(StrEnum):
    NONE = "none"
    MALFORMED = "malformed"
    WRONG_SCHEMA = "wrong_schema"
    UNKNOWN_VERSION = "unknown_version"
    ALWAYS_FAILING = "always_failing"


class Fate(msgspec.Struct, frozen=True):
    """``tries``: how often a handler was given it."""

    cause: str
    tries: int


FATES: Mapping[Poison, Fate] = {
    Poison.MALFORMED: Fate("bad_json", 0),
    Poison.WRONG_SCHEMA: Fate("wrong_schema", 0),
    Poison.UNKNOWN_VERSION: Fate("unknown_type", 0),
    Poison.ALWAYS_FAILING: Fate("attempts_used_up", ATTEMPTS),
}
"""What can never succeed is parked at once, what may succeed after as many attempts as configured."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """``messages`` at a constant rate, whoever keeps up; ``warm_up`` more before them are not measured."""

    messages: int
    rate_per_s: float
    warm_up: int = 100
    seed: int

    @property
    def poison_at(self) -> int:
        """Its place among the measured ones: in the middle of them."""
        return self.messages // 2

    def arms(self, number: int) -> list[Poison]:
        """The runs of a round, in an order of its own."""
        arms = [*FATES, *[Poison.NONE] * CONTROLS]
        Random(f"{self.seed} {number}").shuffle(arms)
        return arms


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Times run from when a message was meant to be said until its effect was committed.

    ``handled`` counts effects of the others, each once; ``late_ms`` is the 99th percentile of how late the messages
    left; ``fates`` is what was parked.
    """

    poison: Poison
    round: int
    handled: int
    doubled: int
    fates: list[Fate]
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_ms: float

    def as_expected(self, load: Load) -> bool:
        fates = [FATES[self.poison]] if self.poison in FATES else []
        return (self.handled, self.doubled, self.fates) == (load.messages, 0, fates)


class Spread(msgspec.Struct, frozen=True):
    median: float
    low: float
    high: float


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """``ratio``: a run's 99th percentile over the median of the round's runs without poison.

    For ``none`` that of the first such run over the others: how far apart runs are that differ in nothing.
    """

    poison: Poison
    tries: int
    cause: str
    p50_ms: Spread
    p99_ms: Spread
    ratio: Spread
    within: bool


def compared(arms: Sequence[Arm]) -> list[Compared]:
    return [_compared(poison, arms) for poison in Poison]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def covering(rounds: int) -> float:
    """How surely the lowest and the highest of so many independent runs have the median of all runs between them."""
    return 1.0 - 2.0 ** (1 - rounds)


def declared(consumer: str) -> Topology:
    """The queue, beside the suite's own topology; it is published to under its name, as a replay is."""
    return Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        queues=frozenset({Queue(QUEUE, consumer=consumer)}),
        bindings=frozenset({Binding(addresses.REDELIVER, QUEUE, QUEUE)}),
    )


def _compared(poison: Poison, arms: Sequence[Arm]) -> Compared:
    own = [arm for arm in arms if arm.poison is poison]
    ratio = _spread([_ratio(poison, arms, number) for number in sorted({arm.round for arm in own})])
    fate = FATES.get(poison, Fate("", 0))
    return Compared(
        poison=poison,
        tries=fate.tries,
        cause=fate.cause,
        p50_ms=_spread([arm.p50_ms for arm in own]),
        p99_ms=_spread([arm.p99_ms for arm in own]),
        ratio=ratio,
        within=ratio.median <= MOST_RATIO,
    )


def _ratio(poison: Poison, arms: Sequence[Arm], number: int) -> float:
    controls = [arm.p99_ms for arm in arms if (arm.round, arm.poison) == (number, Poison.NONE)]
    if poison is Poison.NONE:
        return controls[0] / median(controls[1:])
    (own,) = (arm.p99_ms for arm in arms if (arm.round, arm.poison) == (number, poison))
    return own / median(controls)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(round(median(values), 3), round(min(values), 3), round(max(values), 3))
