"""The fault schedule is reproducible, covers all kinds, and overlaps only faults of different services."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.lab.chaos.arrivals import arrival_times, default_rate_per_s, draw_requests
from prebook.lab.chaos.injector import fault_choices
from prebook.lab.chaos.phases import split_into_phases
from prebook.lab.chaos.schedule import FaultChoice, draw_schedule, overlap_groups
from prebook.lab.faults import FAULT_CATALOGUE, FaultKind
from tests.lab.ledger.accounts_builder import START

SERVICES = ("booking", "pricing", "matching")
CHOICES = (
    *(
        FaultChoice(f"{kind}_{service}", kind, service, may_overlap=True)
        for kind in ("kill", "pause")
        for service in SERVICES
    ),
    FaultChoice("broker_kill", "server_kill", "broker"),
    FaultChoice("duplicate_everything", "duplicate_everything", "broker"),
)
KINDS = {choice.name: choice.kind for choice in CHOICES}
ALWAYS = "duplicate_everything"
counts = st.integers(1, 40)
seeds = st.integers(0, 10_000)


@given(counts, seeds)
def test_the_same_seed_draws_the_same_schedule_of_the_requested_size(count: int, seed: int) -> None:
    schedule = draw_schedule(CHOICES, count, seed, 6.0 * count, ALWAYS)
    assert schedule == draw_schedule(CHOICES, count, seed, 6.0 * count, ALWAYS)
    assert len(schedule) == count


def test_different_seeds_draw_different_schedules() -> None:
    schedules = {tuple(fault.name for fault in draw_schedule(CHOICES, 8, seed, 60.0)) for seed in range(5)}
    assert len(schedules) == 5


@given(counts, seeds)
def test_every_kind_and_target_is_drawn_once_before_any_is_drawn_twice(count: int, seed: int) -> None:
    names = [fault.name for fault in draw_schedule(CHOICES, count, seed, 6.0 * count, ALWAYS)]
    first = [KINDS[name] for name in names[: len(set(KINDS.values()))]]
    assert len(set(first)) == len(first)
    assert ALWAYS in first
    kills = [name for name in names if KINDS[name] == "kill"][: len(SERVICES)]
    assert len(set(kills)) == len(kills)


@given(counts, seeds)
def test_at_most_two_faults_overlap_and_never_on_one_target(count: int, seed: int) -> None:
    schedule = draw_schedule(CHOICES, count, seed, 6.0 * count, ALWAYS)
    targets = {choice.name: choice for choice in CHOICES}
    for group in overlap_groups(schedule):
        assert len(group) <= 2
        assert len({targets[fault.name].target for fault in group}) == len(group)
        assert len(group) == 1 or all(targets[fault.name].may_overlap for fault in group)
    starts = [group[0].at_s for group in overlap_groups(schedule)]
    assert all(before < after for before, after in pairwise(starts))


def test_some_faults_overlap() -> None:
    assert any(fault.overlaps for seed in range(5) for fault in draw_schedule(CHOICES, 40, seed, 240.0))


def test_every_kind_of_the_catalogue_can_be_drawn_but_the_one_that_lasts_minutes() -> None:
    choices = fault_choices(list(FAULT_CATALOGUE.values()))
    assert {choice.kind for choice in choices} == set(FaultKind) - {FaultKind.CRASHING_POISON}


def test_an_empty_catalogue_is_an_error() -> None:
    with pytest.raises(ValueError, match="no fault"):
        draw_schedule((), 3, 1, 10.0)


@given(st.integers(1, 60), seeds)
def test_the_requested_number_of_bookings_is_offered_in_order_within_the_duration(bookings: int, seed: int) -> None:
    requests = draw_requests(bookings, 30.0, seed, run="x", week=START)
    times = [request.planned.at_s for request in requests]
    assert len({request.key for request in requests}) == bookings
    assert times == sorted(times)
    assert times == list(arrival_times(bookings, 30.0, seed))
    assert 0 <= times[0] <= times[-1] <= 30.0


def test_the_default_rate_leaves_time_for_every_fault() -> None:
    assert default_rate_per_s(10_000, 60) == 12.0
    assert default_rate_per_s(640, 8) == pytest.approx(10.0)


@given(counts, st.integers(1, 80), seeds)
def test_every_request_and_every_fault_is_in_exactly_one_phase(count: int, bookings: int, seed: int) -> None:
    duration_s = 8.0 * count
    schedule = draw_schedule(CHOICES, count, seed, duration_s, ALWAYS)
    requests = draw_requests(bookings, duration_s, seed, run="x", week=START)
    phases = split_into_phases(schedule, requests)
    assert [request for phase in phases for request in phase.requests] == list(requests)
    assert [fault for phase in phases for fault in phase.faults] == list(schedule)
    assert phases[0].starts_s == 0.0
    for phase, following in pairwise(phases):
        assert all(phase.starts_s <= request.planned.at_s < following.starts_s for request in phase.requests)
    assert all(phase.starts_s == phase.faults[0].at_s for phase in phases[1:])
