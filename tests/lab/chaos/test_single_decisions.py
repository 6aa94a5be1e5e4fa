"""Limits and conditions of the judge, one by one: each of these once survived a change of one condition."""

from dataclasses import replace
from datetime import timedelta

import pytest

from prebook.contracts.ride import BookingState
from prebook.lab.chaos.database import ExpiredMessage, OpenOffer, UnreceivedMessage
from prebook.lab.chaos.evidence import InjectedFault
from prebook.lab.chaos.explanations import unanswered_flows
from prebook.lab.chaos.fault_periods import Period
from prebook.lab.chaos.judge import judge
from prebook.lab.chaos.overload import (
    MAX_SLOW_RIDE_S,
    SLOW_RIDE_S,
    is_check_delayed,
    is_slow_ride,
    is_waiting_ride,
    most_slow,
)
from prebook.lab.chaos.slowness import SlowPeriod
from prebook.lab.load.plans import PLANS
from tests.lab.chaos.evidence_builder import RunRecords, flawless_run, with_end, with_row
from tests.lab.ledger.accounts_builder import answered, at, refused

ONE = "bk_one_way_0"
NOBODY = "bk_of_no_ride"


def fault(name: str, at_s: float, duration_s: float = 2.0) -> InjectedFault:
    return InjectedFault(name=name, at_s=at_s, took_effect=True, duration_s=duration_s)


def found(run: RunRecords, *faults: InjectedFault) -> list[str]:
    return [violation.detail for violation in judge(run.with_changes(faults=faults).evidence).violations]


@pytest.mark.parametrize(("start", "end"), [(0, 1), (3, 4)])
def test_periods_that_touch_overlap(start: float, end: float) -> None:
    assert Period(at(start), at(end)).overlaps(Period(at(1), at(3)))
    assert Period(at(1), at(3)).overlaps(Period(at(start), at(end)))


def test_only_the_part_of_a_fault_during_the_ride_counts() -> None:
    run = with_end(flawless_run(), 0, BookingState.EXPIRED, "no fare: deadline", when=120.0)
    assert found(run, fault("kill_pricing", -60.0, 120.0))
    assert found(run, fault("kill_pricing", 60.0, 120.0))
    assert not found(run, fault("kill_pricing", -60.0, 240.0))


def test_a_synchronous_call_counts_as_sent_without_any_fault() -> None:
    message = UnreceivedMessage("booking", "pricing", ONE, f"{ONE}.quote_fare", "quote_fare", at(1.0))
    run = with_row(flawless_run().with_database_changes(unreceived=[message]), 0, couplings=PLANS["sync_api"])
    assert not found(run, fault("kill_operations", 90.0))


def test_messages_and_offers_of_no_ride_are_left_to_other_checks_and_expired_ones_are_lost() -> None:
    unreceived = UnreceivedMessage("booking", "pricing", NOBODY, f"{NOBODY}.quote_fare", "quote_fare", at(1.0))
    run = flawless_run().with_database_changes(
        unreceived=[unreceived], open_offers=[OpenOffer(NOBODY, "ada-1", at(1.0))]
    )
    assert not found(run, fault("kill_operations", 90.0))
    expired = ExpiredMessage("booking", NOBODY, f"{NOBODY}.quote_fare", "quote_fare", at(1.0))
    assert found(flawless_run().with_database_changes(expired=[expired]), fault("broker_kill", 0.0, 200.0))


@pytest.mark.parametrize(
    ("took_s", "is_slow"),
    [
        (SLOW_RIDE_S - 0.01, False),
        (SLOW_RIDE_S, True),
        (MAX_SLOW_RIDE_S, True),
        (MAX_SLOW_RIDE_S + 0.01, False),
    ],
)
def test_a_ride_is_slow_within_limits(took_s: float, is_slow: bool) -> None:
    assert is_slow_ride(answered(0, 0.0, took_s)) == is_slow


def test_rides_are_compared_with_those_offered_at_about_the_same_time() -> None:
    earlier = [answered(n, float(n), n + 0.1) for n in range(10)]
    slow = [answered(n, float(n), n + 2.0) for n in range(20, 23)]
    assert list(most_slow([*earlier, *slow], is_slow_ride)) == slow
    quick = answered(30, 21.5, 21.6)
    assert list(most_slow([*earlier, *slow[:2], quick, slow[2]], is_slow_ride)) == slow


def test_a_fault_hides_only_the_checks_at_its_time() -> None:
    run = with_end(flawless_run(), 0, BookingState.FAILED, "no fare: timeout", when=2.0, label="sync_api")
    slow = run.with_changes(slow=[SlowPeriod("pricing", at(0.0), at(1.0))])
    assert not found(slow, fault("pause_pricing", 60.0))
    assert not is_check_delayed(SlowPeriod("pricing", at(0.0), at(1.0)), ())


def test_only_rides_that_were_answered_without_a_synchronous_call_measure_the_machine() -> None:
    waiting = answered(0, 0.0, 2.0)
    assert is_waiting_ride(waiting)
    assert not is_waiting_ride(answered(0, 0.0, 2.0, BookingState.EXPIRED))
    assert not is_waiting_ride(refused(0, 0.0))
    by_call = replace(waiting, rows=[with_row(flawless_run(1), 0, couplings=PLANS["mixed"]).rows[0]])
    assert is_waiting_ride(by_call) == ("sync_api" not in PLANS["mixed"].values())


def test_a_ride_without_a_row_has_no_flows_that_left_it_unanswered() -> None:
    assert unanswered_flows(refused(0, 0.0), all_declined=False) is None
    assert unanswered_flows(answered(0, 0.0, 1.0), all_declined=False) is None


def test_only_the_reason_that_no_fleet_has_a_driver_may_be_a_decision_of_the_fleets() -> None:
    run = with_end(flawless_run(), 0, BookingState.REJECTED, "no driver: the fleets' offers have run out", when=2.0)
    assert found(run.with_database_changes(declined_by_all=frozenset({ONE})), fault("kill_operations", 90.0))


def test_a_short_fault_explains_the_loss_of_a_synchronous_message_and_of_no_other() -> None:
    offer = flawless_run().with_database_changes(open_offers=[OpenOffer(ONE, "ada-1", at(1.0))])
    by_call = with_row(offer, 0, couplings=PLANS["sync_api"])
    assert not found(by_call, fault("kill_matching", 3.0))
    assert not found(by_call, fault("kill_matching", 4.5)), "within the timeout and the margin of a circuit"
    assert found(by_call, fault("kill_matching", 9.0))
    assert found(offer, fault("kill_matching", 3.0))


def test_a_failed_call_ends_its_ride_within_its_timeout() -> None:
    run = with_end(flawless_run(), 0, BookingState.FAILED, "no fare: timeout", when=20.0, label="sync_api")
    assert not found(run, fault("pause_pricing", 15.5, 0.6)), "up to 4 s before the end: its timeout and a margin"
    assert found(run, fault("pause_pricing", 15.0, 0.6))
    assert found(run, fault("pause_pricing", 20.5, 2.0)), "after the end"


def test_an_interrupted_call_was_made_30_s_before_its_end_at_the_latest() -> None:
    run = with_end(flawless_run(), 0, BookingState.EXPIRED, "no fare: deadline", when=60.0, label="sync_api")
    assert not found(run, fault("kill_booking", 31.0))
    assert found(run, fault("kill_booking", 33.0))


def test_an_expired_ride_is_no_rejection() -> None:
    run = with_end(flawless_run(), 0, BookingState.FAILED, "no driver: timeout", when=40.0, label="sync_api")
    assert found(run, fault("kill_booking", 5.0)), "a call that failed was not interrupted"


def test_a_wait_is_widened_on_both_sides() -> None:
    assert Period(at(1), at(3)).widened(timedelta(seconds=1)) == Period(at(0), at(4))
