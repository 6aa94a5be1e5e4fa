"""Rows of the bench's table: a figure of the suite, the same of a baseline, and the goal for their ratio. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

import msgspec


class Better(Enum):
    """Direction in which a figure improves."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Benchmark:
    """Figure to measure, with its unit and the goal for the ratio ours / baseline.

    ``note``: the difference between the two sides that explains a missed goal.
    """

    name: str
    unit: str
    better: Better
    baseline_name: str
    goal: float
    note: str


class RoundSpread(msgspec.Struct, frozen=True, kw_only=True):
    """Median, minimum and maximum of a figure over the rounds."""

    median: float
    low: float
    high: float


class BenchRow(msgspec.Struct, frozen=True, kw_only=True):
    """Row of the table, as ``--json`` prints it. A figure that was not measured is null."""

    name: str
    ours: float | None
    """Median over the rounds of the suite's figure."""
    baseline: float | None
    """Median over the rounds of the baseline's figure."""
    baseline_name: str
    unit: str
    ratio: float | None
    """Median of the ratios of the rounds, since both sides of a round met the same state of the machine."""
    goal: str
    met: bool | None
    """Whether the goal was met; null if not measured."""
    note: str
    """Difference between the sides, or the reason for a missing figure."""
    spread: dict[str, RoundSpread] = {}
    """Spread of ``ours``, ``baseline`` and ``ratio``."""
    rounds: int = 1
    """Number of rounds."""


def bench_row(benchmark: Benchmark, ours: Sequence[float], baseline: Sequence[float]) -> BenchRow:
    """Return the row of ``benchmark``. ``ours`` and ``baseline``: one value per round, in the order of the rounds."""
    ratios = [suite_value / baseline_value for suite_value, baseline_value in zip(ours, baseline, strict=True)]
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
    """Return the row of a benchmark that could not be measured."""
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
    """Return the row that stands for all rows of a subject that failed."""
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
    """Return the goal of the ratio with its direction."""
    return f"{'>=' if benchmark.better is Better.HIGHER else '<='} {benchmark.goal:g} x"


def spread_of(values: Sequence[float]) -> RoundSpread:
    """Return median, minimum and maximum of ``values``, rounded."""
    return RoundSpread(
        median=round_significant(median(values)),
        low=round_significant(min(values)),
        high=round_significant(max(values)),
    )


def round_significant(value: float) -> float:
    """Round to four significant digits, or to a whole number from 1000 on."""
    return round(value) if value >= 1000 else float(f"{value:.4g}")  # noqa: PLR2004 - as the docstring says
