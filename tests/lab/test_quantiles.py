"""Quantiles are values that were measured, at the nearest rank."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.lab.quantiles import latency_summary, median_interval, nearest_rank

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


@pytest.mark.parametrize("count", [8, 20, 38, 100, 400])
def test_the_interval_covers_the_true_median_as_often_as_it_says(count: int) -> None:
    """Between ranks l and u lies the median whenever l <= X < u of X ~ Binomial(n, 1/2): computed, not sampled."""
    low, high = median_interval([float(rank) for rank in range(1, count + 1)])
    covered = sum(math.comb(count, below) for below in range(int(low), int(high))) / 2**count
    assert 0.83 <= covered <= 0.96


def test_nothing_measured_counts_nothing() -> None:
    assert latency_summary([]).count == 0
