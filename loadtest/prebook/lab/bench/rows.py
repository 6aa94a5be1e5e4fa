"""One line of the table: a figure of ours, the same of a baseline, and the goal for their ratio."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

import msgspec


class Better(Enum):
    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Benchmark:
    """What is measured, and the goal for our figure.

    ``goal`` is a ratio ours / baseline; ``note`` says what the two sides do not have alike: the reason where a row
    misses its goal.
    """

    name: str
    unit: str
    better: Better
    baseline_name: str
    goal: float
    note: str


class RoundSpread(msgspec.Struct, frozen=True, kw_only=True):
    """Of the rounds: median, least, most."""

    median: float
    low: float
    high: float


class BenchRow(msgspec.Struct, frozen=True, kw_only=True):
    """``ratio`` is the median of the rounds' own ratios: both sides of a round met the same machine."""

    name: str
    ours: float | None
    baseline: float | None
    baseline_name: str
    unit: str
    ratio: float | None
    goal: str
    met: bool | None
    """None where it could not be measured; ``note`` says why."""
    note: str
    spread: dict[str, RoundSpread] = {}
    rounds: int = 1
    """That the figures are the medians of."""


def bench_row(benchmark: Benchmark, ours: Sequence[float], baseline: Sequence[float]) -> BenchRow:
    """One value for each round and side, in the order of the rounds."""
    ratios = [mine / theirs for mine, theirs in zip(ours, baseline, strict=True)]
    ratio = median(ratios)
    met = ratio >= benchmark.goal if benchmark.better is Better.HIGHER else ratio <= benchmark.goal
    return BenchRow(
        name=benchmark.name,
        ours=round_significant(median(ours)),
        baseline=round_significant(median(baseline)),
        baseline_name=benchmark.baseline_name,
        unit=benchmark.unit,
        ratio=round(ratio, 3),
        goal=goal_text(benchmark),
        met=met,
        note=benchmark.note if met else f"misses its goal; {benchmark.note}",
        spread={"ours": spread_of(ours), "baseline": spread_of(baseline), "ratio": spread_of(ratios)},
        rounds=len(ratios),
    )


def unmeasured_row(benchmark: Benchmark, reason: str) -> BenchRow:
    return BenchRow(
        name=benchmark.name,
        ours=None,
        baseline=None,
        baseline_name=benchmark.baseline_name,
        unit=benchmark.unit,
        ratio=None,
        goal=goal_text(benchmark),
        met=None,
        note=f"not measured: {reason}",
    )


def failed_row(subject: str, reason: str) -> BenchRow:
    """In place of all rows of a subject that came to no end."""
    return BenchRow(
        name=subject,
        ours=None,
        baseline=None,
        baseline_name="-",
        unit="-",
        ratio=None,
        goal="-",
        met=None,
        note=f"not measured: {reason}",
    )


def goal_text(benchmark: Benchmark) -> str:
    return f"{'>=' if benchmark.better is Better.HIGHER else '<='} {benchmark.goal:g} x"


def spread_of(values: Sequence[float]) -> RoundSpread:
    return RoundSpread(
        median=round_significant(median(values)),
        low=round_significant(min(values)),
        high=round_significant(max(values)),
    )


def round_significant(value: float) -> float:
    """Three or four digits that mean something."""
    return round(value) if value >= 1000 else float(f"{value:.4g}")  # noqa: PLR2004 - where whole numbers are enough
