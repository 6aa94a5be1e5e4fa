"""Few plans in which every two couplings of every two flows meet."""

from collections.abc import Sequence
from itertools import combinations, product

Pair = tuple[tuple[int, str], tuple[int, str]]
Row = tuple[str, ...]


def covering(columns: int, values: Sequence[str]) -> list[Row]:
    """Rows in which every pair of values stands in every pair of columns, first those with one value throughout.

    Greedy: each further row is one that covers the most pairs still missing.
    """
    rows: list[Row] = [(value,) * columns for value in values]
    missing = _all_pairs(columns, values) - {pair for row in rows for pair in pairs(row)}
    candidates = list(product(values, repeat=columns))
    while missing:
        best = max(candidates, key=lambda row: len(missing & pairs(row)))
        rows.append(best)
        missing -= pairs(best)
    return rows


def pairs(row: Row) -> set[Pair]:
    """(column, value) beside (column, value) for every two columns."""
    return set(combinations(enumerate(row), 2))


def _all_pairs(columns: int, values: Sequence[str]) -> set[Pair]:
    return {
        ((a, left), (b, right)) for a, b in combinations(range(columns), 2) for left, right in product(values, repeat=2)
    }
