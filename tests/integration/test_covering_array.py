"""Covering arrays contain every pair of values in few rows."""

from itertools import combinations, product

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from tests.integration.covering_array import column_value_pairs, covering_array


@pytest.mark.parametrize(("columns", "values"), [(2, "ab"), (3, "abc"), (4, "abcd"), (len(FLOWS), tuple(Coupling))])
def test_every_pair_of_values_occurs_in_every_pair_of_columns(columns: int, values: tuple[str, ...]) -> None:
    rows = covering_array(columns, values)
    for a, b in combinations(range(columns), 2):
        assert {(row[a], row[b]) for row in rows} == set(product(values, repeat=2)), (a, b)


def test_uniform_rows_come_first_and_the_rows_are_few() -> None:
    rows = covering_array(4, "abcd")
    assert rows[:4] == [(value,) * 4 for value in "abcd"]
    assert 16 <= len(rows) <= 20, "the minimum is sixteen, because two columns alone have sixteen pairs"


def test_every_row_after_the_uniform_ones_adds_a_missing_pair() -> None:
    rows = covering_array(4, "abcd")
    for at, row in enumerate(rows[4:], 4):
        assert column_value_pairs(row) - set().union(*map(column_value_pairs, rows[:at])), row
