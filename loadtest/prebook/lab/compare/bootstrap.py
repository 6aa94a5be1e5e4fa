"""Differences with their spread, by the bootstrap. Pure; the same seed gives the same intervals.

A resample's quantile need not be drawn value by value: the k-th smallest of n uniform draws is Beta(k, n - k + 1), and
where it falls among the ordered values is the resample's quantile. That is the bootstrap itself, not an approximation.
Source: Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979); David and Nagaraja, "Order Statistics".
"""

import random
from collections.abc import Callable, Sequence

RESAMPLES = 2000
TAIL = 0.025
"""Left out at either end: what is between is an interval of 95 %."""
Draw = Callable[[random.Random], float]


def quantile_draw(ordered: Sequence[float], percent: int) -> Draw:
    """Draws the quantile of a resample. ``ordered`` is rising and not empty."""
    n = len(ordered)
    rank = max(1, -(-percent * n // 100))
    return lambda rng: ordered[min(n - 1, int(rng.betavariate(rank, n - rank + 1) * n))]


def mean_draw(values: Sequence[float]) -> Draw:
    """Draws the mean of a resample. ``values`` is not empty."""
    return lambda rng: sum(rng.choices(values, k=len(values))) / len(values)


def interval(before: Draw, after: Draw, seed: str) -> tuple[float, float]:
    """Of the difference ``after`` - ``before``, each drawn for itself."""
    rng = random.Random(f"bootstrap:{seed}")
    drawn = sorted(after(rng) - before(rng) for _ in range(RESAMPLES))
    cut = int(TAIL * RESAMPLES)
    return drawn[cut], drawn[-1 - cut]
