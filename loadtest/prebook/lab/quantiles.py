"""Exact quantiles of measured values, without buckets or interpolation."""

import math
from collections.abc import Iterable, Sequence

import msgspec

from prebook.patterns.quantile import nearest_rank

__all__ = ["LatencySummary", "format_ms", "latency_summary", "median_interval", "nearest_rank"]

Z_83_PERCENT = 1.386
"""Standard normal quantile of a two-sided 83 % interval.

Two 83 % intervals overlap about as often as a test at the 5 % level finds no difference; 95 % intervals would overlap,
and declare a tie, far more often. Source: Goldstein and Healy, The Graphical Presentation
of a Collection of Means, 1995.
"""
MS_PER_S = 1000.0
ONE_DECIMAL_BELOW_MS = 10.0


class LatencySummary(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles of a latency in milliseconds. All are 0.0 if ``count`` is 0, because nothing was measured."""

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    p50_low: float = 0.0
    """Lower end of an 83 % confidence interval of the median, from order statistics; ``p50_high`` is the upper end."""
    p50_high: float = 0.0


def median_interval(ordered: Sequence[float]) -> tuple[float, float]:
    """Return an 83 % confidence interval of the median: the values at the ranks n/2 -+ z*sqrt(n)/2.

    The ranks are clipped to 1..n, so the interval of few values spans all of them. ``ordered`` is ascending and not
    empty. Source: Conover, Practical Nonparametric Statistics, confidence interval for a quantile.
    """
    half_width = Z_83_PERCENT * math.sqrt(len(ordered)) / 2
    low = math.floor(len(ordered) / 2 - half_width)
    high = math.ceil(len(ordered) / 2 + half_width)
    return ordered[max(0, low - 1)], ordered[min(len(ordered), high + 1) - 1]


def latency_summary(values: Iterable[float]) -> LatencySummary:
    """Return the quantiles of latencies in milliseconds, in any order, rounded to microseconds."""
    ordered = sorted(values)
    if not ordered:
        return LatencySummary()
    low, high = median_interval(ordered)
    return LatencySummary(
        count=len(ordered),
        p50=round(nearest_rank(ordered, 50), 3),
        p90=round(nearest_rank(ordered, 90), 3),
        p99=round(nearest_rank(ordered, 99), 3),
        max=round(ordered[-1], 3),
        p50_low=round(low, 3),
        p50_high=round(high, 3),
    )


def format_ms(value: float) -> str:
    """Format a duration in milliseconds in at most eight characters; from 1,000 ms on, in seconds."""
    if value >= MS_PER_S:
        return f"{value / MS_PER_S:.2f} s"
    return f"{value:.1f} ms" if value < ONE_DECIMAL_BELOW_MS else f"{value:.0f} ms"
