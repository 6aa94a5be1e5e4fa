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
PREFETCH = 32
MAX_ATTEMPTS = 5
BACKOFF_S = 0.2
"""A step of the suite's retry ladder, and short: every attempt falls among the others."""
MAX_RATIO = 1.2
TIMEOUT_MARGIN_S = 20.0
MIN_RATE_PER_S = 50.0
"""A side's consumer that handles fewer a second hangs."""


class PoisonKind(StrEnum):
    NONE = "none"
    MALFORMED = "malformed"
    WRONG_SCHEMA = "wrong_schema"
    UNKNOWN_VERSION = "unknown_version"
    ALWAYS_FAILING = "always_failing"


class ParkedPoison(msgspec.Struct, frozen=True):
    """``attempts``: how often a handler was given it."""

    cause: str
    attempts: int


EXPECTED_PARKED: Mapping[PoisonKind, ParkedPoison] = {
    PoisonKind.MALFORMED: ParkedPoison("bad_json", 0),
    PoisonKind.WRONG_SCHEMA: ParkedPoison("wrong_schema", 0),
    PoisonKind.UNKNOWN_VERSION: ParkedPoison("unknown_type", 0),
    PoisonKind.ALWAYS_FAILING: ParkedPoison("attempts_exhausted", MAX_ATTEMPTS),
}
"""What can never succeed is parked at once, what may succeed after as many attempts as configured."""


class PoisonLoad(msgspec.Struct, frozen=True, kw_only=True):
    """``messages`` of each side at a constant rate, whoever keeps up; ``warm_up`` before them are not measured."""

    messages: int
    rate_per_s: float
    warm_up: int = 100
    seed: int

    @property
    def duration_s(self) -> float:
        """From the first message to the last."""
        return (self.warm_up + self.messages) / self.rate_per_s

    @property
    def timeout_s(self) -> float:
        """In which all is handled once it has been said, however far a consumer is behind by then."""
        return TIMEOUT_MARGIN_S + (self.warm_up + self.messages) / MIN_RATE_PER_S

    @property
    def poison_index(self) -> int:
        """Its place among the measured ones: in the middle of them."""
        return self.messages // 2

    def shuffled_kinds(self, round_number: int) -> list[PoisonKind]:
        """The runs of a round, in an order of its own."""
        kinds = list(PoisonKind)
        Random(f"{self.seed} {round_number}").shuffle(kinds)
        return kinds


class LatencyQuantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds from when a message was meant to be said until its effect was committed."""

    p50: float
    p99: float
    max: float


class PoisonRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``others``: messages beside the poison; ``control``: those of the other side meanwhile.

    ``handled`` counts effects of both, each once; ``lag_p99_ms`` is the 99th percentile of how late messages left;
    ``parked`` is the poison that was parked.
    """

    poison: PoisonKind
    round: int
    handled: int
    doubled: int
    parked: list[ParkedPoison]
    others: LatencyQuantiles
    control: LatencyQuantiles
    lag_p99_ms: float

    @property
    def ratio(self) -> float:
        return self.others.p99 / self.control.p99

    def is_as_expected(self, load: PoisonLoad) -> bool:
        expected = [EXPECTED_PARKED[self.poison]] if self.poison in EXPECTED_PARKED else []
        return (self.handled, self.doubled, self.parked) == (len(SIDES) * load.messages, 0, expected)


class MedianRange(msgspec.Struct, frozen=True):
    median: float
    low: float
    high: float


class PoisonSummary(msgspec.Struct, frozen=True, kw_only=True):
    """``ratio``: the others' 99th percentile over that of the side without poison, of the same seconds.

    For ``none``: how far apart two sides are that differ in nothing.
    """

    poison: PoisonKind
    attempts: int
    cause: str
    others_p99_ms: MedianRange
    control_p99_ms: MedianRange
    ratio: MedianRange
    within_limit: bool


def poison_summaries(runs: Sequence[PoisonRun]) -> list[PoisonSummary]:
    return [_poison_summary(poison, [run for run in runs if run.poison is poison]) for poison in PoisonKind]


def latency_quantiles(took_s: Sequence[float]) -> LatencyQuantiles:
    p50, p99, maximum = (round(percentile(took_s, share) * 1000, 2) for share in (0.5, 0.99, 1.0))
    return LatencyQuantiles(p50=p50, p99=p99, max=maximum)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median_confidence(rounds: int) -> float:
    """How surely the lowest and the highest of so many independent runs have the median of all runs between them."""
    return 1.0 - 2.0 ** (1 - rounds)


def queue_of(side: str) -> str:
    return f"lab.poison.{side}"


def queue_topology(consumer: str) -> Topology:
    """The queues, beside the suite's own topology; each is published to under its name, as a replay is."""
    queues = [queue_of(side) for side in SIDES]
    return Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        queues=frozenset(Queue(name, consumer=consumer) for name in queues),
        bindings=frozenset(Binding(addresses.REDELIVER, name, name) for name in queues),
    )


def _poison_summary(poison: PoisonKind, runs: Sequence[PoisonRun]) -> PoisonSummary:
    expected = EXPECTED_PARKED.get(poison, ParkedPoison("", 0))
    ratio = _median_range([run.ratio for run in runs])
    return PoisonSummary(
        poison=poison,
        attempts=expected.attempts,
        cause=expected.cause,
        others_p99_ms=_median_range([run.others.p99 for run in runs]),
        control_p99_ms=_median_range([run.control.p99 for run in runs]),
        ratio=ratio,
        within_limit=ratio.median <= MAX_RATIO,
    )


def _median_range(values: Sequence[float]) -> MedianRange:
    return MedianRange(round(median(values), 3), round(min(values), 3), round(max(values), 3))
