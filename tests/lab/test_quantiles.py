"""Quantiles are measured values at the nearest rank."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.lab.quantiles import latency_summary, median_interval, nearest_rank

values = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=200).map(sorted)


@given(values, st.integers(1, 100))
def test_a_quantile_is_the_smallest_value_that_covers_its_share(ordered: list[float], percent: int) -> None:
    quantile = nearest_rank(ordered, percent)
    assert 100 * sum(value <= quantile for value in ordered) >= percent * len(ordered)
    assert 100 * sum(value < quantile for value in ordered) < percent * len(ordered)


@pytest.mark.parametrize(("percent", "expected"), [(50, 50.0), (90, 90.0), (99, 99.0), (100, 100.0)])
def test_quantiles_of_1_to_100_equal_their_percentage(percent: int, expected: float) -> None:
    assert nearest_rank([float(i) for i in range(1, 101)], percent) == expected


@given(values)
def test_the_interval_contains_the_median(ordered: list[float]) -> None:
    low, high = median_interval(ordered)
    assert low <= nearest_rank(ordered, 50) <= high


def test_the_interval_narrows_with_more_values() -> None:
    few, many = ([i / n for i in range(n)] for n in (20, 2000))
    assert median_interval(many)[1] - median_interval(many)[0] < median_interval(few)[1] - median_interval(few)[0]


@pytest.mark.parametrize("count", [8, 20, 38, 100, 400])
def test_the_interval_covers_the_true_median_with_at_least_its_nominal_probability(count: int) -> None:
    """The median lies between ranks l and u whenever l <= X < u for X ~ Binomial(n, 1/2): computed, not sampled."""
    low, high = median_interval([float(rank) for rank in range(1, count + 1)])
    coverage = sum(math.comb(count, below) for below in range(int(low), int(high))) / 2**count
    assert 0.83 <= coverage <= 0.96


def test_a_summary_of_no_values_has_count_zero() -> None:
    assert latency_summary([]).count == 0
