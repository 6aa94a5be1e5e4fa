"""Arrivals: decided beforehand, the same for a seed, as many as the rate says, more in a burst."""

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
def test_arrivals_rise_lie_within_the_duration_and_repeat_with_the_seed(arrivals: Arrivals, seed: str) -> None:
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


def test_another_seed_gives_other_times() -> None:
    arrivals = Arrivals(ArrivalProcess.POISSON, 20.0, 5.0)
    assert arrival_offsets(arrivals, "7") != arrival_offsets(arrivals, "8")


@given(st.integers(0, 200), st.text(max_size=5))
def test_every_plan_is_offered_every_ride_once(arrivals: int, seed: str) -> None:
    offers = interleave([float(i) for i in range(arrivals)], LABELS, seed)
    rides = arrivals // len(LABELS)
    assert Counter((offer.ride, offer.label) for offer in offers) == Counter(
        (number, label) for number in range(rides) for label in LABELS
    )


def test_no_plan_always_goes_first() -> None:
    offers = interleave([float(i) for i in range(500)], LABELS, "7")
    assert {offer.label for offer in offers[:: len(LABELS)]} == set(LABELS)


@given(st.integers(0, 10_000), st.integers(0, 5_000))
def test_rides_are_bookable_and_depend_on_seed_and_number_alone(seed: int, number: int) -> None:
    wanted = nth_ride(seed, number, WEEK)
    assert wanted == nth_ride(seed, number, WEEK)
    assert SOUTH <= wanted.pickup.lat <= NORTH
    assert WEST <= wanted.pickup.lon <= EAST
    assert wanted.pickup != wanted.dropoff
    assert 1 <= wanted.passengers <= SEATS[wanted.vehicle_class]
    assert WEEK <= wanted.pickup_at < WEEK + timedelta(days=7)


def test_rides_share_no_quarter_before_the_week_is_full() -> None:
    quarters = {int((nth_ride(7, n, WEEK).pickup_at - WEEK) / timedelta(minutes=15)) for n in range(QUARTERS_PER_WEEK)}
    assert len(quarters) == QUARTERS_PER_WEEK


def test_plans_ask_for_the_same_ride() -> None:
    wanted = nth_ride(7, 3, WEEK)
    asked = [booking_request(wanted, plan) for plan in PLANS.values()]
    assert len({(each.pickup.lat, each.pickup_at, each.rider_id, each.passengers) for each in asked}) == 1
    assert len({tuple(sorted((each.couplings or {}).items())) for each in asked}) == len(PLANS)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  bounds are naive
def test_the_week_begins_on_a_monday_a_week_ahead_at_least(now: datetime) -> None:
    week = campaign_week(now)
    assert (week.weekday(), week.hour, week.minute) == (0, 0, 0)
    assert timedelta(days=7) <= week - now <= timedelta(days=15)
