"""Who was best at what, and when a difference is none. Pure, over the report's numbers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prebook.lab.quantiles import Latency
from prebook.lab.report.model import Result

METRICS: Mapping[str, Callable[[Result], Latency]] = {
    "time to accept": lambda result: result.latency_ms.accept,
    "time to outcome": lambda result: result.latency_ms.outcome,
    "time until the rider knows": lambda result: result.latency_ms.notified,
}
A_SECOND, FEW = 1000.0, 10.0


@dataclass(frozen=True)
class Contest:
    """One metric of one scenario. ``winners`` holds all whose median cannot be told from the best one."""

    metric: str
    medians: Mapping[str, Latency]
    """Label -> latency, quickest median first; plans with nothing measured are left out."""
    winners: tuple[str, ...]

    @property
    def best(self) -> Latency:
        return next(iter(self.medians.values()))

    @property
    def losers(self) -> tuple[str, ...]:
        return tuple(label for label in self.medians if label not in self.winners)


def tied(one: Latency, other: Latency) -> bool:
    """The intervals of the two medians overlap: the difference is within the spread."""
    return one.p50_low <= other.p50_high and other.p50_low <= one.p50_high


def contest(metric: str, results: Sequence[Result]) -> Contest | None:
    """None where nobody has been measured."""
    measured = {result.label: METRICS[metric](result) for result in results}
    ranked = sorted((item for item in measured.items() if item[1].count), key=lambda item: item[1].p50)
    if not ranked:
        return None
    medians = dict(ranked)
    best = ranked[0][1]
    return Contest(metric, medians, tuple(label for label, mine in medians.items() if tied(best, mine)))


def contests(results: Sequence[Result]) -> tuple[Contest, ...]:
    return tuple(found for metric in METRICS if (found := contest(metric, results)))


def ms(value: float) -> str:
    """Milliseconds to be read at a glance."""
    if value >= A_SECOND:
        return f"{value / A_SECOND:.2f} s"
    return f"{value:.1f} ms" if value < FEW else f"{value:.0f} ms"


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
