"""What one poison message among many is, what must become of it, and what is concluded about the others. No I/O."""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from random import Random
from statistics import median

import msgspec

from prebook.messaging import addresses
from prebook.topology.values import Binding, Exchange, Queue, Topology

SIDES = ("left", "right")
"""Two queues with a consumer each, under the same load at the same time: one gets the poison, the other does not."""
PREFETCH, ATTEMPTS, PAUSE_S = 32, 5, 0.2
"""``PAUSE_S`` is a rung of the suite's ladder, and short: every attempt falls among the others."""
MOST_RATIO = 1.2
SPARE_S, SLOWEST_PER_S = 20.0, 50.0
"""A side's consumer that handles fewer a second hangs."""


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
    """``messages`` of each side at a constant rate, whoever keeps up; ``warm_up`` before them are not measured."""

    messages: int
    rate_per_s: float
    warm_up: int = 100
    seed: int

    @property
    def lasts_s(self) -> float:
        """From the first message to the last."""
        return (self.warm_up + self.messages) / self.rate_per_s

    @property
    def within_s(self) -> float:
        """In which all is handled once it has been said, however far a consumer is behind by then."""
        return SPARE_S + (self.warm_up + self.messages) / SLOWEST_PER_S

    @property
    def poison_at(self) -> int:
        """Its place among the measured ones: in the middle of them."""
        return self.messages // 2

    def arms(self, number: int) -> list[Poison]:
        """The runs of a round, in an order of its own."""
        arms = list(Poison)
        Random(f"{self.seed} {number}").shuffle(arms)
        return arms


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from when a message was meant to be said until its effect was committed."""

    p50: float
    p99: float
    most: float


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``others``: messages beside the poison; ``beside``: those of the other side meanwhile.

    ``handled`` counts effects of both, each once; ``late_ms`` is the 99th percentile of how late messages left;
    ``fates`` is what was parked.
    """

    poison: Poison
    round: int
    handled: int
    doubled: int
    fates: list[Fate]
    others: Times
    beside: Times
    late_ms: float

    @property
    def ratio(self) -> float:
        return self.others.p99 / self.beside.p99

    def as_expected(self, load: Load) -> bool:
        fates = [FATES[self.poison]] if self.poison in FATES else []
        return (self.handled, self.doubled, self.fates) == (len(SIDES) * load.messages, 0, fates)


class Spread(msgspec.Struct, frozen=True):
    median: float
    low: float
    high: float


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """``ratio``: the others' 99th percentile over that of the side without poison, of the same seconds.

    For ``none``: how far apart two sides are that differ in nothing.
    """

    poison: Poison
    tries: int
    cause: str
    others_p99_ms: Spread
    beside_p99_ms: Spread
    ratio: Spread
    within: bool


def compared(arms: Sequence[Arm]) -> list[Compared]:
    return [_compared(poison, [arm for arm in arms if arm.poison is poison]) for poison in Poison]


def times(took_s: Sequence[float]) -> Times:
    p50, p99, most = (round(percentile(took_s, share) * 1000, 2) for share in (0.5, 0.99, 1.0))
    return Times(p50=p50, p99=p99, most=most)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def covering(rounds: int) -> float:
    """How surely the lowest and the highest of so many independent runs have the median of all runs between them."""
    return 1.0 - 2.0 ** (1 - rounds)


def queue_of(side: str) -> str:
    return f"lab.poison.{side}"


def declared(consumer: str) -> Topology:
    """The queues, beside the suite's own topology; each is published to under its name, as a replay is."""
    queues = [queue_of(side) for side in SIDES]
    return Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        queues=frozenset(Queue(name, consumer=consumer) for name in queues),
        bindings=frozenset(Binding(addresses.REDELIVER, name, name) for name in queues),
    )


def _compared(poison: Poison, arms: Sequence[Arm]) -> Compared:
    fate, ratio = FATES.get(poison, Fate("", 0)), _spread([arm.ratio for arm in arms])
    return Compared(
        poison=poison,
        tries=fate.tries,
        cause=fate.cause,
        others_p99_ms=_spread([arm.others.p99 for arm in arms]),
        beside_p99_ms=_spread([arm.beside.p99 for arm in arms]),
        ratio=ratio,
        within=ratio.median <= MOST_RATIO,
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(round(median(values), 3), round(min(values), 3), round(max(values), 3))
