"""Arrivals and rides: determined by the seed, with the configured rate, and a higher one in a burst."""

import statistics
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.lab.load.arrivals import ArrivalProcess, Arrivals, BurstWindow, arrival_offsets
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.rides import (
    EAST,
    NORTH,
    QUARTERS_PER_WEEK,
    SEATS,
    SOUTH,
    WEST,
    booking_request,
    campaign_week,
    nth_ride,
)

LABELS = tuple(PLANS)
WEEK = campaign_week(datetime(2026, 11, 24, 17, tzinfo=UTC))
some_arrivals = st.builds(
    Arrivals,
    st.sampled_from(ArrivalProcess),
    st.floats(0.5, 50.0),
    st.floats(0.5, 30.0),
    st.none() | st.builds(BurstWindow, st.floats(0.0, 0.9), st.floats(0.05, 0.5), st.floats(1.0, 5.0)),
)


@given(some_arrivals, st.text(max_size=5))
def test_arrivals_ascend_within_the_duration_and_repeat_with_the_seed(arrivals: Arrivals, seed: str) -> None:
    times = arrival_offsets(arrivals, seed)
    assert all(0.0 <= time <= arrivals.duration_s for time in times)
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert times == arrival_offsets(arrivals, seed)


def test_constant_arrivals_are_an_even_grid() -> None:
    assert arrival_offsets(Arrivals(ArrivalProcess.CONSTANT, 4.0, 1.0), "any") == (0.0, 0.25, 0.5, 0.75)


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() -> None:
    times = arrival_offsets(Arrivals(ArrivalProcess.POISSON, 50.0, 200.0), "7")
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)


def test_a_burst_multiplies_the_rate_within_its_window_only() -> None:
    times = arrival_offsets(
        Arrivals(ArrivalProcess.BURST, 20.0, 100.0, BurstWindow(start_fraction=0.5, duration_fraction=0.2, factor=3.0)),
        "7",
    )
    inside = sum(50.0 <= time < 70.0 for time in times)
    assert inside == pytest.approx(20 * 20 * 3, rel=0.1)
    assert len(times) - inside == pytest.approx(80 * 20, rel=0.1)


def test_another_seed_gives_other_arrival_times() -> None:
    arrivals = Arrivals(ArrivalProcess.POISSON, 20.0, 5.0)
    assert arrival_offsets(arrivals, "7") != arrival_offsets(arrivals, "8")


@given(st.integers(0, 200), st.text(max_size=5))
def test_every_ride_is_requested_once_under_every_plan(arrivals: int, seed: str) -> None:
    planned = interleave([float(i) for i in range(arrivals)], LABELS, seed)
    rides = arrivals // len(LABELS)
    assert Counter((request.ride, request.label) for request in planned) == Counter(
        (number, label) for number in range(rides) for label in LABELS
    )


def test_no_plan_always_comes_first() -> None:
    planned = interleave([float(i) for i in range(500)], LABELS, "7")
    assert {request.label for request in planned[:: len(LABELS)]} == set(LABELS)


@given(st.integers(0, 10_000), st.integers(0, 5_000))
def test_rides_are_bookable_and_depend_on_seed_and_number_alone(seed: int, number: int) -> None:
    ride = nth_ride(seed, number, WEEK)
    assert ride == nth_ride(seed, number, WEEK)
    assert SOUTH <= ride.pickup.lat <= NORTH
    assert WEST <= ride.pickup.lon <= EAST
    assert ride.pickup != ride.dropoff
    assert 1 <= ride.passengers <= SEATS[ride.vehicle_class]
    assert WEEK <= ride.pickup_at < WEEK + timedelta(days=7)


def test_no_two_rides_share_a_quarter_of_an_hour_until_all_are_used() -> None:
    quarters = {int((nth_ride(7, n, WEEK).pickup_at - WEEK) / timedelta(minutes=15)) for n in range(QUARTERS_PER_WEEK)}
    assert len(quarters) == QUARTERS_PER_WEEK


def test_all_plans_request_the_same_ride() -> None:
    ride = nth_ride(7, 3, WEEK)
    requests = [booking_request(ride, plan) for plan in PLANS.values()]
    assert len({(item.pickup.lat, item.pickup_at, item.rider_id, item.passengers) for item in requests}) == 1
    assert len({tuple(sorted((item.couplings or {}).items())) for item in requests}) == len(PLANS)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  bounds are naive
def test_the_week_begins_on_a_monday_at_least_a_week_ahead(now: datetime) -> None:
    week = campaign_week(now)
    assert (week.weekday(), week.hour, week.minute) == (0, 0, 0)
    assert timedelta(days=7) <= week - now <= timedelta(days=15)
