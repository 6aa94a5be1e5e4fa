"""Recovery time follows its definition, and is None if it cannot be measured."""

import pytest

from prebook.contracts.ride import BookingState
from prebook.lab.faults import FaultWindow
from prebook.lab.ledger.accounts import RideAccount, build_accounts
from prebook.lab.ledger.recovery_time import answered_per_bin, recovery_s
from tests.lab.ledger.accounts_builder import START, answered, at, refused, row, sample

OUTAGE = FaultWindow(started_at=at(10), ended_at=at(20), took_effect=True, evidence="test")
BEFORE = [answered(0, 5.0, 5.1)]


def test_without_a_fault_recovery_is_not_measured() -> None:
    assert recovery_s(BEFORE, None) is None


def test_a_plan_without_disturbed_rides_recovers_at_once() -> None:
    assert recovery_s([*BEFORE, answered(1, 12.0, 12.1), answered(2, 21.0, 21.1)], OUTAGE) == 0.0


def test_recovery_ends_when_the_last_ride_of_the_backlog_is_settled() -> None:
    accounts = [*BEFORE, answered(1, 12.0, 22.0), answered(2, 19.0, 23.5), answered(3, 24.0, 24.1)]
    assert recovery_s(accounts, OUTAGE) == 3.5


def test_recovery_ends_when_the_last_refused_ride_was_offered() -> None:
    accounts = [*BEFORE, refused(1, 12.0), refused(2, 21.25), answered(3, 22.0, 22.1)]
    assert recovery_s(accounts, OUTAGE) == 1.25


def test_a_ride_offered_after_the_fault_and_settled_slowly_counts() -> None:
    accounts = [*BEFORE, answered(1, 21.0, 26.0), answered(2, 27.0, 27.1)]
    assert recovery_s(accounts, OUTAGE) == 6.0


def test_the_normal_limit_follows_the_rides_before_the_fault() -> None:
    slow_before = answered(0, 5.0, 8.0)
    assert recovery_s([slow_before, answered(1, 21.0, 26.0), answered(2, 27.0, 29.0)], OUTAGE) == 0.0


def test_a_ride_delayed_by_the_fault_does_not_raise_the_normal_limit() -> None:
    open_at_start = answered(1, 9.9, 26.0)
    assert recovery_s([*BEFORE, open_at_start, answered(2, 19.0, 24.0), answered(3, 27.0, 27.1)], OUTAGE) == 6.0


@pytest.mark.parametrize(
    "after",
    [
        [refused(1, 12.0)],
        [answered(1, 12.0, 12.1), refused(2, 25.0)],
        [answered(1, 12.0, 40.0, BookingState.EXPIRED)],
        [],
    ],
)
def test_a_recovery_without_a_later_answered_ride_is_not_measured(after: list[RideAccount]) -> None:
    assert recovery_s([*BEFORE, *after], OUTAGE) is None


def test_recovery_is_not_measured_with_a_ride_in_flight() -> None:
    in_flight = build_accounts([sample(1, when=12.0)], [row(sample(1, when=12.0), BookingState.REQUESTED)], [])
    assert recovery_s([*BEFORE, *in_flight, answered(2, 21.0, 21.1)], OUTAGE) is None


def test_answered_rides_outside_the_bins_count_in_the_edge_bins() -> None:
    accounts = [answered(0, 0.0, 0.2), answered(1, 0.0, 1.2), answered(2, 0.0, 99.0), refused(3, 0.5)]
    assert answered_per_bin(accounts, START, 1.0, 3) == (1, 1, 1)
