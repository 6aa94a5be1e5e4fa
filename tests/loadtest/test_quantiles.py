"""Quantiles are values that were measured, at the nearest rank."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.quantiles import latency, median_interval, nearest_rank

values = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=200).map(sorted)


@given(values, st.integers(1, 100))
def test_a_quantile_is_the_smallest_value_that_covers_its_share(ordered: list[float], percent: int) -> None:
    found = nearest_rank(ordered, percent)
    assert 100 * sum(value <= found for value in ordered) >= percent * len(ordered)
    assert 100 * sum(value < found for value in ordered) < percent * len(ordered)


@pytest.mark.parametrize(("percent", "expected"), [(50, 50.0), (90, 90.0), (99, 99.0), (100, 100.0)])
def test_of_the_numbers_to_a_hundred_they_are_the_percent(percent: int, expected: float) -> None:
    assert nearest_rank([float(i) for i in range(1, 101)], percent) == expected


@given(values)
def test_the_interval_holds_the_median(ordered: list[float]) -> None:
    low, high = median_interval(ordered)
    assert low <= nearest_rank(ordered, 50) <= high


def test_the_interval_narrows_with_more_values() -> None:
    few, many = ([i / n for i in range(n)] for n in (20, 2000))
    assert median_interval(many)[1] - median_interval(many)[0] < median_interval(few)[1] - median_interval(few)[0]


def test_the_interval_covers_the_true_median_of_a_known_table() -> None:
    """For n = 100 the usual table gives ranks 40 and 61."""
    assert median_interval([float(i) for i in range(1, 101)]) == (40.0, 61.0)


def test_nothing_measured_counts_nothing() -> None:
    assert latency([]).count == 0
