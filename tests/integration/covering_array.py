"""Covering arrays of strength two: few plans in which every two couplings of every two flows occur together.

Source: pairwise (all-pairs) testing.
"""

from collections.abc import Sequence
from itertools import combinations, product

Pair = tuple[tuple[int, str], tuple[int, str]]
Row = tuple[str, ...]


def covering_array(columns: int, values: Sequence[str]) -> list[Row]:
    """Return rows in which every pair of values occurs in every pair of columns.

    The rows with one value in all columns come first. Greedy: each further row is one that covers the most pairs that
    are still missing.
    """
    rows: list[Row] = [(value,) * columns for value in values]
    missing = _all_pairs(columns, values) - {pair for row in rows for pair in column_value_pairs(row)}
    candidates = list(product(values, repeat=columns))
    while missing:
        best = max(candidates, key=lambda row: len(missing & column_value_pairs(row)))
        rows.append(best)
        missing -= column_value_pairs(best)
    return rows


def column_value_pairs(row: Row) -> set[Pair]:
    """Return the pairs of (column, value) of every two columns of a row."""
    return set(combinations(enumerate(row), 2))


def _all_pairs(columns: int, values: Sequence[str]) -> set[Pair]:
    return {
        ((a, left), (b, right)) for a, b in combinations(range(columns), 2) for left, right in product(values, repeat=2)
    }
