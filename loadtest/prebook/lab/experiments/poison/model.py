"""Load, expected results and statistics of the poison experiment. No I/O."""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from random import Random
from statistics import median

import msgspec

from prebook.flows import OFFER_SETTLED
from prebook.lab.experiments.drawing import message_path
from prebook.messaging import addresses
from prebook.messaging.addresses import QueueName
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from prebook.topology.model import union
from prebook.topology.retry_and_dead_letter import with_retry_and_parking
from prebook.topology.values import Binding, Exchange, Queue, Topology

SIDES = ("left", "right")
"""Two queues with one consumer each, under the same load at the same time; one of them gets the poison."""
PREFETCH = 32
MAX_ATTEMPTS = 5
BACKOFF_S = 0.2
"""Shortest step of the suite's retry ladder, so that all attempts fall into the run."""
MAX_RATIO = 1.2
TIMEOUT_MARGIN_S = 120.0
"""Seconds that a consumer may need in addition, above all to be started again after each crash."""
MIN_RATE_PER_S = 50.0
"""A consumer that handles fewer messages per second is considered hanging."""


class PoisonKind(StrEnum):
    """Kinds of poison; ``none`` is the control run."""

    NONE = "none"
    MALFORMED = "malformed"
    WRONG_SCHEMA = "wrong_schema"
    UNKNOWN_VERSION = "unknown_version"
    ALWAYS_FAILING = "always_failing"
    CRASHING = "crashing"
    """Kills its consumer process, which is started again each time."""


class ParkedPoison(msgspec.Struct, frozen=True):
    """Dead-letter cause of the poison message, and how often a handler got it."""

    cause: str
    attempts: int


EXPECTED_PARKED: Mapping[PoisonKind, ParkedPoison] = {
    PoisonKind.MALFORMED: ParkedPoison("bad_json", 0),
    PoisonKind.WRONG_SCHEMA: ParkedPoison("wrong_schema", 0),
    PoisonKind.UNKNOWN_VERSION: ParkedPoison("unknown_type", 0),
    PoisonKind.ALWAYS_FAILING: ParkedPoison("attempts_exhausted", MAX_ATTEMPTS),
    PoisonKind.CRASHING: ParkedPoison("delivery_limit", DELIVERY_LIMIT + 1),
}
"""Expected result: a message that cannot be decoded is parked at once, a failing one after MAX_ATTEMPTS, and one that
kills its consumer after the delivery limit of its queue."""


class PoisonLoad(msgspec.Struct, frozen=True, kw_only=True):
    """Measured messages per side at a constant rate, preceded by ``warm_up`` unmeasured ones."""

    messages: int
    rate_per_s: float
    warm_up: int = 100
    seed: int

    @property
    def duration_s(self) -> float:
        """Seconds from the first message to the last."""
        return (self.warm_up + self.messages) / self.rate_per_s

    @property
    def timeout_s(self) -> float:
        """Seconds after publishing within which a slow consumer has handled everything."""
        return TIMEOUT_MARGIN_S + (self.warm_up + self.messages) / MIN_RATE_PER_S

    @property
    def poison_index(self) -> int:
        """Position of the poison message: the middle of the measured ones."""
        return self.messages // 2

    def shuffled_kinds(self, round_number: int) -> list[PoisonKind]:
        """Return the runs of a round in random order, determined by the seed."""
        kinds = list(PoisonKind)
        Random(f"{self.seed} {round_number}").shuffle(kinds)
        return kinds


class LatencyQuantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies in milliseconds from the intended sending time to the commit of the effect."""

    p50: float
    p99: float
    max: float


class PoisonRun(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one run.

    ``others`` are latencies on the side with poison, ``control`` those of the other side at the same time. ``handled``
    counts messages with an effect on both sides, ``parked`` the dead letters. ``lag_p99_ms`` is the p99 lag of the
    publisher.
    """

    poison: PoisonKind
    round: int
    handled: int
    duplicated: int
    parked: list[ParkedPoison]
    others: LatencyQuantiles
    control: LatencyQuantiles
    lag_p99_ms: float

    @property
    def ratio(self) -> float:
        """p99 latency on the side with poison relative to the control."""
        return self.others.p99 / self.control.p99


class MedianRange(msgspec.Struct, frozen=True):
    """Median, lowest and highest value of all rounds."""

    median: float
    low: float
    high: float


class PoisonSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Results of one kind of poison over all rounds.

    ``ratio`` compares p99 latencies with the control; for ``none`` it shows the noise between two equal sides.
    """

    poison: PoisonKind
    attempts: int
    cause: str
    others_p99_ms: MedianRange
    control_p99_ms: MedianRange
    ratio: MedianRange


def poison_summaries(runs: Sequence[PoisonRun]) -> list[PoisonSummary]:
    """Return one summary per kind of poison."""
    return [_poison_summary(poison, [run for run in runs if run.poison is poison]) for poison in PoisonKind]


def latency_quantiles(latencies_s: Sequence[float]) -> LatencyQuantiles:
    """Return quantiles in milliseconds of latencies in seconds."""
    p50, p99, maximum = (round(percentile(latencies_s, share) * 1000, 2) for share in (0.5, 0.99, 1.0))
    return LatencyQuantiles(p50=p50, p99=p99, max=maximum)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of the values do not exceed. Source: nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median_confidence(rounds: int) -> float:
    """Return the probability that the true median lies between the lowest and the highest of independent runs.

    Source: order statistics; all n values fall on one side of the median with probability 2**(1 - n).
    """
    return 1.0 - 2.0 ** (1 - rounds)


def queue_of(side: str) -> QueueName:
    """Return the name of a side's queue."""
    return QueueName(f"lab.poison.{side}")


def queue_topology(consumer: str) -> Topology:
    """Return the queues in addition to the suite's, with the limits of the suite's queues.

    The redelivery exchange routes to them by name.
    """
    queues = [queue_of(side) for side in SIDES]
    base = Topology(
        exchanges=frozenset({Exchange(addresses.REDELIVER)}),
        queues=frozenset(Queue(name, consumer=consumer) for name in queues),
        bindings=frozenset(Binding(addresses.REDELIVER, name, name) for name in queues),
    )
    paths = union(message_path(name, OFFER_SETTLED.publisher, addresses.REDELIVER, name, consumer) for name in queues)
    return with_retry_and_parking(base, ()) | paths


def _poison_summary(poison: PoisonKind, runs: Sequence[PoisonRun]) -> PoisonSummary:
    expected = EXPECTED_PARKED.get(poison, ParkedPoison("", 0))
    return PoisonSummary(
        poison=poison,
        attempts=expected.attempts,
        cause=expected.cause,
        others_p99_ms=_median_range([run.others.p99 for run in runs]),
        control_p99_ms=_median_range([run.control.p99 for run in runs]),
        ratio=_median_range([run.ratio for run in runs]),
    )


def _median_range(values: Sequence[float]) -> MedianRange:
    return MedianRange(round(median(values), 3), round(min(values), 3), round(max(values), 3))
