"""Message filter: bands of numbers, thresholds, and the same decision by numbers and by bands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.patterns.message_filter import MessageFilter, Threshold, band

BOUNDS = (1_000, 2_000, 5_000)
FARE = Threshold("fare", 2_000, BOUNDS)
DISTANCE = Threshold("distance", 5_000, BOUNDS)
NUMBERS = st.integers(0, 10_000) | st.sampled_from([*BOUNDS, *(bound - 1 for bound in BOUNDS)])


@pytest.mark.parametrize(
    ("number", "reached"), [(0, 0), (999, 0), (1_000, 1), (1_999, 1), (2_000, 2), (4_999, 2), (5_000, 3), (10**9, 3)]
)
def test_the_band_of_a_number_counts_the_bounds_that_it_reaches(number: int, reached: int) -> None:
    assert band(number, BOUNDS) == reached


@pytest.mark.parametrize(("minimum", "passing"), [(1_000, {"1", "2", "3"}), (2_000, {"2", "3"}), (5_000, {"3"})])
def test_the_bands_from_the_minimum_pass(minimum: int, passing: set[str]) -> None:
    assert Threshold("fare", minimum, BOUNDS).passing_bands == passing


def test_a_minimum_that_is_no_bound_is_refused_with_the_bounds() -> None:
    with pytest.raises(ValueError, match="1500 is no bound; choose one of 1000, 2000, 5000"):
        Threshold("fare", 1_500, BOUNDS)


@given(NUMBERS, NUMBERS)
def test_a_filter_by_bands_decides_as_one_by_numbers(fare: int, distance: int) -> None:
    attributes = {"fare": str(band(fare, BOUNDS)), "distance": str(band(distance, BOUNDS))}
    both = MessageFilter((FARE, DISTANCE))
    assert both.passes(attributes) is (fare >= FARE.minimum or distance >= DISTANCE.minimum)
    assert both.passes(attributes) is any(attributes[name] == value for name, value in both.criteria())


def test_a_message_without_the_attributes_is_dropped() -> None:
    assert not MessageFilter((FARE,)).passes({})
    assert not MessageFilter((FARE,)).passes({"fare": "garbage", "distance": "3"})
