"""Who was best at what, and when a difference is none. Pure, over the report's numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prebook.lab.quantiles import LatencySummary
from prebook.lab.report.model import PlanResult

LATENCY_METRICS: Mapping[str, Callable[[PlanResult], LatencySummary]] = {
    "time to accept": lambda result: result.latency_ms.accepted,
    "time to outcome": lambda result: result.latency_ms.settled,
    "time until the rider knows": lambda result: result.latency_ms.notified,
}


@dataclass(frozen=True)
class Ranking:
    """One metric of one scenario. ``winners`` holds all whose median cannot be told from the best one."""

    metric: str
    medians: Mapping[str, LatencySummary]
    """Label -> latency, quickest median first; plans with nothing measured are left out."""
    winners: tuple[str, ...]

    @property
    def best(self) -> LatencySummary:
        return next(iter(self.medians.values()))

    @property
    def losers(self) -> tuple[str, ...]:
        return tuple(label for label in self.medians if label not in self.winners)


def is_tied(one: LatencySummary, other: LatencySummary) -> bool:
    """The intervals of the two medians overlap: the difference is within the spread."""
    return one.p50_low <= other.p50_high and other.p50_low <= one.p50_high


def ranking_of(metric: str, results: Sequence[PlanResult]) -> Ranking | None:
    """None where nobody has been measured."""
    measured = {result.label: LATENCY_METRICS[metric](result) for result in results}
    ranked = sorted((item for item in measured.items() if item[1].count), key=lambda item: item[1].p50)
    if not ranked:
        return None
    medians = dict(ranked)
    best = ranked[0][1]
    return Ranking(metric, medians, tuple(label for label, mine in medians.items() if is_tied(best, mine)))


def rankings(results: Sequence[PlanResult]) -> tuple[Ranking, ...]:
    return tuple(found for metric in LATENCY_METRICS if (found := ranking_of(metric, results)))


def join_words(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
