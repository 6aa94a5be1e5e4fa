"""Bootstrap confidence intervals of differences. Pure; the same seed gives the same intervals.

The quantile of a resample is drawn directly, without drawing the resample: the k-th smallest of n uniform draws has the
distribution Beta(k, n - k + 1), and its position among the ordered values is the quantile. The result is the exact
bootstrap distribution, not an approximation.
Source: Efron, "Bootstrap Methods: Another Look at the Jackknife" (1979); David and Nagaraja, "Order Statistics".
"""

import random
from collections.abc import Callable, Sequence

RESAMPLES = 2000
TAIL = 0.025
"""Share of the resamples below and above the interval, which makes it an interval of 95 %."""
Draw = Callable[[random.Random], float]
"""Draws a statistic of one resample."""


def quantile_draw(ordered: Sequence[float], percent: int) -> Draw:
    """Return a draw of the ``percent`` quantile of a resample. ``ordered`` is ascending and not empty."""
    n = len(ordered)
    rank = max(1, -(-percent * n // 100))
    return lambda rng: ordered[min(n - 1, int(rng.betavariate(rank, n - rank + 1) * n))]


def mean_draw(values: Sequence[float]) -> Draw:
    """Return a draw of the mean of a resample. ``values`` is not empty."""
    return lambda rng: sum(rng.choices(values, k=len(values))) / len(values)


def interval(before: Draw, after: Draw, seed: str) -> tuple[float, float]:
    """Return the 95 % interval of the difference ``after`` - ``before`` over RESAMPLES independent draws of each."""
    rng = random.Random(f"bootstrap:{seed}")
    differences = sorted(after(rng) - before(rng) for _ in range(RESAMPLES))
    cut = int(TAIL * RESAMPLES)
    return differences[cut], differences[-1 - cut]
