"""Recovery is what it is defined to be, and nothing where it cannot be measured."""

import pytest

from prebook.contracts.booking import BookingState
from prebook.lab.faults import FaultWindow
from prebook.lab.ledger.accounts import RideAccount, build_accounts
from prebook.lab.ledger.recovery_time import answered_per_bin, recovery_s
from tests.lab.ledger.accounts_builder import START, answered, at, refused, row, sample

DOWN = FaultWindow(started_at=at(10), ended_at=at(20), took_effect=True, evidence="planted")
BEFORE = [answered(0, 5.0, 5.1)]


def test_without_a_fault_there_is_no_recovery() -> None:
    assert recovery_s(BEFORE, None) is None


def test_a_plan_that_noticed_nothing_is_back_at_once() -> None:
    assert recovery_s([*BEFORE, answered(1, 12.0, 12.1), answered(2, 21.0, 21.1)], DOWN) == 0.0


def test_a_backlog_counts_until_its_last_ride_is_settled() -> None:
    accounts = [*BEFORE, answered(1, 12.0, 22.0), answered(2, 19.0, 23.5), answered(3, 24.0, 24.1)]
    assert recovery_s(accounts, DOWN) == 3.5


def test_refusals_count_until_the_last_one_was_offered() -> None:
    accounts = [*BEFORE, refused(1, 12.0), refused(2, 21.25), answered(3, 22.0, 22.1)]
    assert recovery_s(accounts, DOWN) == 1.25


def test_a_newcomer_that_is_treated_worse_than_before_counts_too() -> None:
    accounts = [*BEFORE, answered(1, 21.0, 26.0), answered(2, 27.0, 27.1)]
    assert recovery_s(accounts, DOWN) == 6.0


def test_slow_is_measured_by_how_the_plan_was_before() -> None:
    slow_before = answered(0, 5.0, 8.0)
    assert recovery_s([slow_before, answered(1, 21.0, 26.0), answered(2, 27.0, 29.0)], DOWN) == 0.0


def test_a_ride_that_the_fault_held_up_does_not_count_as_usual() -> None:
    caught = answered(1, 9.9, 26.0)
    assert recovery_s([*BEFORE, caught, answered(2, 19.0, 24.0), answered(3, 27.0, 27.1)], DOWN) == 6.0


@pytest.mark.parametrize(
    "since",
    [
        [refused(1, 12.0)],
        [answered(1, 12.0, 12.1), refused(2, 25.0)],
        [answered(1, 12.0, 40.0, BookingState.EXPIRED)],
        [],
    ],
)
def test_a_return_that_nobody_saw_is_not_measured(since: list[RideAccount]) -> None:
    assert recovery_s([*BEFORE, *since], DOWN) is None


def test_a_ride_still_in_flight_leaves_it_open() -> None:
    waiting = build_accounts([sample(1, when=12.0)], [row(sample(1, when=12.0), BookingState.REQUESTED)], [])
    assert recovery_s([*BEFORE, *waiting, answered(2, 21.0, 21.1)], DOWN) is None


def test_completions_lose_nothing_at_the_edges() -> None:
    accounts = [answered(0, 0.0, 0.2), answered(1, 0.0, 1.2), answered(2, 0.0, 99.0), refused(3, 0.5)]
    assert answered_per_bin(accounts, START, 1.0, 3) == (1, 1, 1)
