"""Exact quantiles, without buckets or interpolation."""

from collections.abc import Sequence


def nearest_rank(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest value that at least ``percent`` % of the values do not exceed.

    ``ordered`` is ascending and not empty. Source: nearest-rank method.
    """
    rank = -(-percent * len(ordered) // 100)  # integers only: 0.99 has no exact float
    return ordered[max(0, rank - 1)]
