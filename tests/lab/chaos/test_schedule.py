"""The schedule is the seed's, every fault gets its turn, and no two that could disturb each other overlap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.lab.chaos.arrivals import arrival_times, default_rate_per_s, draw_requests
from prebook.lab.chaos.phases import split_into_phases
from prebook.lab.chaos.schedule import FaultChoice, draw_schedule, overlap_groups
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
def test_the_same_seed_draws_the_same_and_as_many_as_wanted(count: int, seed: int) -> None:
    plan = draw_schedule(CHOICES, count, seed, 6.0 * count, ALWAYS)
    assert plan == draw_schedule(CHOICES, count, seed, 6.0 * count, ALWAYS)
    assert len(plan) == count


def test_another_seed_draws_something_else() -> None:
    plans = {tuple(planned.name for planned in draw_schedule(CHOICES, 8, seed, 60.0)) for seed in range(5)}
    assert len(plans) == 5


@given(counts, seeds)
def test_every_kind_comes_once_before_any_comes_twice_and_so_do_its_targets(count: int, seed: int) -> None:
    names = [planned.name for planned in draw_schedule(CHOICES, count, seed, 6.0 * count, ALWAYS)]
    first = [KINDS[name] for name in names[: len(set(KINDS.values()))]]
    assert len(set(first)) == len(first)
    assert ALWAYS in first
    kills = [name for name in names if KINDS[name] == "kill"][: len(SERVICES)]
    assert len(set(kills)) == len(kills)


@given(counts, seeds)
def test_only_two_services_break_at_once_and_the_rest_comes_in_turn(count: int, seed: int) -> None:
    plan = draw_schedule(CHOICES, count, seed, 6.0 * count, ALWAYS)
    targets = {choice.name: choice for choice in CHOICES}
    for group in overlap_groups(plan):
        assert len(group) <= 2
        assert len({targets[planned.name].target for planned in group}) == len(group)
        assert len(group) == 1 or all(targets[planned.name].may_overlap for planned in group)
    starts = [group[0].at_s for group in overlap_groups(plan)]
    assert all(before < after for before, after in pairwise(starts))


def test_pairs_do_occur() -> None:
    assert any(planned.overlaps for seed in range(5) for planned in draw_schedule(CHOICES, 40, seed, 240.0))


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no fault"):
        draw_schedule((), 3, 1, 10.0)


@given(st.integers(1, 60), seeds)
def test_exactly_so_many_bookings_are_offered_in_order_and_within_the_time(bookings: int, seed: int) -> None:
    made = draw_requests(bookings, 30.0, seed, run="x", week=START)
    times = [order.planned.at_s for order in made]
    assert len({order.key for order in made}) == bookings
    assert times == sorted(times)
    assert times == list(arrival_times(bookings, 30.0, seed))
    assert 0 <= times[0] <= times[-1] <= 30.0


def test_the_usual_rate_leaves_each_fault_its_turn() -> None:
    assert default_rate_per_s(10_000, 60) == 12.0
    assert default_rate_per_s(640, 8) == pytest.approx(10.0)


@given(counts, st.integers(1, 80), seeds)
def test_every_ride_is_in_one_turn_and_each_fault_meets_its_own(count: int, bookings: int, seed: int) -> None:
    duration_s = 8.0 * count
    plan = draw_schedule(CHOICES, count, seed, duration_s, ALWAYS)
    wanted = draw_requests(bookings, duration_s, seed, run="x", week=START)
    turns = split_into_phases(plan, wanted)
    assert [order for turn in turns for order in turn.requests] == list(wanted)
    assert [planned for turn in turns for planned in turn.faults] == list(plan)
    assert turns[0].starts_s == 0.0
    for turn, following in pairwise(turns):
        assert all(turn.starts_s <= order.planned.at_s < following.starts_s for order in turn.requests)
    assert all(turn.starts_s == turn.faults[0].at_s for turn in turns[1:])
