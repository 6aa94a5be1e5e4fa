"""Exact quantiles of what was measured: no buckets, no interpolation."""

import math
from collections.abc import Iterable, Sequence

import msgspec

Z_83_PERCENT = 1.386
"""For intervals of 83 %: two of them overlap about as often as a test at the 5 % level finds no difference. Overlapping
intervals of 95 % would call far more a tie."""
MS_PER_S = 1000.0
ONE_DECIMAL_BELOW_MS = 10.0


class LatencySummary(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds. All are 0.0 where ``count`` is 0: nothing was measured then."""

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    p50_low: float = 0.0
    """With ``p50_high``: an 83 % confidence interval of the median, from order statistics alone."""
    p50_high: float = 0.0


def nearest_rank(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that at least ``percent`` % of all do not exceed. ``ordered`` is rising and not empty."""
    rank = -(-percent * len(ordered) // 100)  # whole numbers only: 0.99 has no exact float
    return ordered[max(0, rank - 1)]


def median_interval(ordered: Sequence[float]) -> tuple[float, float]:
    """Ranks n/2 -+ z*sqrt(n)/2, cut to what there is: for few values the interval is all of them."""
    reach = Z_83_PERCENT * math.sqrt(len(ordered)) / 2
    low = math.floor(len(ordered) / 2 - reach)
    high = math.ceil(len(ordered) / 2 + reach)
    return ordered[max(0, low - 1)], ordered[min(len(ordered), high + 1) - 1]


def latency_summary(values: Iterable[float]) -> LatencySummary:
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
    """Return milliseconds in at most eight characters, as seconds from 1,000 ms on."""
    if value >= MS_PER_S:
        return f"{value / MS_PER_S:.2f} s"
    return f"{value:.1f} ms" if value < ONE_DECIMAL_BELOW_MS else f"{value:.0f} ms"
