"""Ranking of plans by latency, with ties if a difference is within the spread. Values only, no I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prebook.lab.quantiles import LatencySummary
from prebook.lab.report.model import PlanResult

LATENCY_METRICS: Mapping[str, Callable[[PlanResult], LatencySummary]] = {
    "time to accept": lambda result: result.latency_ms.accepted,
    "time to outcome": lambda result: result.latency_ms.settled,
    "time until the rider knows": lambda result: result.latency_ms.notified,
}

LATENCY_FIELDS: Mapping[str, str] = {
    "time to accept": "accepted",
    "time to outcome": "settled",
    "time until the rider knows": "notified",
}
"""Metric -> its field in RideLatencies."""


@dataclass(frozen=True)
class Ranking:
    """Ranking by one metric in one scenario; ``winners`` are all plans whose median ties with the best one."""

    metric: str
    medians: Mapping[str, LatencySummary]
    """Label -> latency, lowest median first; plans without measurements are omitted."""
    winners: tuple[str, ...]

    @property
    def best(self) -> LatencySummary:
        """Latency of the plan with the lowest median."""
        return next(iter(self.medians.values()))

    @property
    def losers(self) -> tuple[str, ...]:
        """Measured plans that are not winners."""
        return tuple(label for label in self.medians if label not in self.winners)


def is_tied(first: LatencySummary, second: LatencySummary) -> bool:
    """Return whether the confidence intervals of two medians overlap."""
    return first.p50_low <= second.p50_high and second.p50_low <= first.p50_high


def ranking_of(metric: str, results: Sequence[PlanResult]) -> Ranking | None:
    """Return the ranking by ``metric``, or None if no plan has measurements."""
    measured = {result.label: LATENCY_METRICS[metric](result) for result in results}
    ranked = sorted((item for item in measured.items() if item[1].count), key=lambda item: item[1].p50)
    if not ranked:
        return None
    medians = dict(ranked)
    best = ranked[0][1]
    return Ranking(metric, medians, tuple(label for label, latency in medians.items() if is_tied(best, latency)))


def rankings(results: Sequence[PlanResult]) -> tuple[Ranking, ...]:
    """Return the rankings by all metrics that have measurements."""
    return tuple(ranking for metric in LATENCY_METRICS if (ranking := ranking_of(metric, results)))


def join_words(words: Sequence[str]) -> str:
    """Return a list of words as text: ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
