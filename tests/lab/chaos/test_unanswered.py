"""Rides without an answer: each needs a fault that can have caused its end, else it counts as lost."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from prebook.contracts.ride import BookingState
from prebook.lab.chaos.database import DatabaseState, OpenOffer, UnreceivedMessage
from prebook.lab.chaos.evidence import InjectedFault
from prebook.lab.chaos.fault_periods import Period, union_s
from prebook.lab.chaos.judge import ChaosVerdict, judge
from prebook.lab.load.plans import PLANS
from prebook.lab.load.samples import RefusalSample
from tests.lab.chaos.evidence_builder import RunRecords, dead_letter, flawless_run, with_end
from tests.lab.ledger.accounts_builder import START, at

ONE = "bk_one_way_0"
EXPIRED = (BookingState.EXPIRED, "no fare: deadline")
NO_DRIVER = (BookingState.EXPIRED, "no driver: deadline")


def fault(name: str, at_s: float, duration_s: float, recovery_s: float = 0.0) -> InjectedFault:
    return InjectedFault(name=name, at_s=at_s, took_effect=True, duration_s=duration_s, recovery_s=recovery_s)


def unexplained(run: RunRecords, *faults: InjectedFault) -> int:
    """Return the number of unexplained ends of ``run`` under ``faults``; they are counted as lost too."""
    result = judge(run.with_changes(faults=faults).evidence).result
    assert result.unexplained == sum(end.unexplained for end in result.ends)
    assert result.lost >= result.unexplained
    return result.unexplained


def test_a_run_in_which_nearly_all_rides_expired_fails() -> None:
    run = flawless_run(200)
    for index in range(199):
        run = with_end(run, index, *NO_DRIVER, when=index + 120.0)
    verdict = judge(run.evidence)
    assert not verdict.ok
    assert verdict.result.lost == verdict.result.unexplained == 199
    (end,) = verdict.result.ends
    assert (end.state, end.reason, end.rides, end.unexplained) == ("expired", "no driver: deadline", 199, 199)
    assert any("199 unexplained" in problem for problem in verdict.problems)


def test_a_ride_that_can_wait_is_explained_only_by_faults_as_long_as_its_deadline() -> None:
    run = with_end(flawless_run(), 0, *EXPIRED, when=120.0)
    assert unexplained(run, fault("kill_pricing", 1.0, 20.0, recovery_s=5.0)) == 1
    assert unexplained(run, fault("kill_pricing", -1.0, 100.0, recovery_s=30.0)) == 0
    assert unexplained(run, fault("kill_pricing", -1.0, 60.0), fault("broker_kill", 50.0, 90.0)) == 0
    assert unexplained(run, fault("kill_pricing", -1.0, 60.0), fault("broker_kill", 0.0, 60.0)) == 1
    assert unexplained(run, fault("kill_pricing", -200.0, 150.0)) == 1, "a fault before the ride explains nothing"


def test_a_fault_of_another_service_or_transport_explains_nothing() -> None:
    run = with_end(flawless_run(), 0, *EXPIRED, when=120.0)
    for name in ("kill_matching", "link_cut_http_pricing", "duplicate_everything", "poison", "kill_operations"):
        assert unexplained(run, fault(name, -1.0, 200.0)) == 1
    for name in ("link_cut_pricing_broker", "database_kill", "memory_alarm", "pause_booking", "queue_full"):
        assert unexplained(run, fault(name, -1.0, 200.0)) == 0


def test_the_search_for_a_driver_depends_on_matching_and_the_fleets() -> None:
    run = with_end(flawless_run(), 0, *NO_DRIVER, when=130.0)
    assert unexplained(run, fault("kill_pricing", -1.0, 200.0)) == 1
    assert unexplained(run, fault("kill_fleets", -1.0, 60.0), fault("pause_matching", 55.0, 90.0)) == 0


def test_a_synchronous_ride_is_explained_by_a_fault_during_its_call() -> None:
    run = with_end(flawless_run(), 0, BookingState.FAILED, "no fare: unreachable", when=1.0, label="sync_api")
    assert unexplained(run, fault("pause_pricing", 0.5, 3.0)) == 0
    assert unexplained(run, fault("pause_pricing", 9.0, 3.0)) == 1
    assert unexplained(run, fault("pause_matching", 0.5, 3.0)) == 1
    assert unexplained(run, fault("broker_kill", 0.0, 9.0)) == 1


def test_a_skewed_clock_explains_deadlines_that_passed_too_early() -> None:
    run = with_end(flawless_run(), 0, *EXPIRED, when=40.0)
    assert unexplained(run, fault("clock_skew_pricing", 2.0, 25.0)) == 0
    assert unexplained(run, fault("clock_skew_pricing", 2.0, 10.0)) == 1
    assert unexplained(run, fault("clock_skew_fleets", 2.0, 25.0)) == 1


@pytest.mark.parametrize("reason", ["the time of the pickup has passed", "no such thing", ""])
def test_an_unknown_reason_has_no_explanation(reason: str) -> None:
    run = with_end(flawless_run(), 0, BookingState.EXPIRED, reason, when=120.0)
    assert unexplained(run, fault("database_kill", -1.0, 500.0)) == 1


def test_a_rejection_by_the_business_is_an_answer_and_one_for_want_of_offers_is_none() -> None:
    for reason in ("no driver: every driver offered has been taken", "no fare: 40 m is less than the shortest ride"):
        assert unexplained(with_end(flawless_run(), 0, BookingState.REJECTED, reason, when=2.0)) == 0
    for reason in ("no driver: the fleets' offers have run out", "no driver: the booking has ended"):
        assert unexplained(with_end(flawless_run(), 0, BookingState.REJECTED, reason, when=2.0)) == 1
    nobody = with_end(flawless_run(), 0, BookingState.REJECTED, "no driver: no fleet has a driver", when=70.0)
    assert unexplained(nobody) == 1
    assert unexplained(nobody, fault("kill_fleets", -1.0, 80.0)) == 0
    assert unexplained(nobody.with_database_changes(declined_by_all=frozenset({ONE}))) == 0


def silent(run: RunRecords, index: int = 0) -> RunRecords:
    """Leave one request of ``run`` without a response and without a booking."""
    samples = list(run.samples)
    samples[index] = msgspec.structs.replace(
        samples[index], status=None, error="timeout", response_ms=None, booking_id=None
    )
    rows = [row for position, row in enumerate(run.rows) if position != index]
    return run.with_changes(samples=samples, rows=rows, deliveries=run.deliveries[1:], database=without_first(run))


def without_first(run: RunRecords) -> DatabaseState:
    database = run.database
    return replace(
        database,
        histories={booking: states for booking, states in database.histories.items() if booking != ONE},
        notices={booking: notices for booking, notices in database.notices.items() if booking != ONE},
        assigned=database.assigned[1:],
        reserved=database.reserved[1:],
        granted_count=database.granted_count - 1,
        granted_rows=database.granted_rows - 1,
    )


def test_a_request_without_a_response_is_counted_and_needs_a_fault_of_booking() -> None:
    run = silent(flawless_run())
    assert judge(run.evidence).result.silent == 1
    assert not judge(run.evidence).ok
    assert judge(run.evidence).result.unexplained == 1
    for name in ("kill_booking", "database_kill", "link_black_hole_booking_database"):
        verdict = judge(run.with_changes(faults=[fault(name, 1.0, 4.0)]).evidence)
        assert verdict.ok, verdict.problems
        assert verdict.result.silent == 1
    assert not judge(run.with_changes(faults=[fault("kill_booking", 20.0, 4.0)]).evidence).ok


@pytest.mark.parametrize("code", ["response_timeout", "unavailable"])
def test_a_refusal_that_leaves_the_booking_open_needs_a_fault_if_there_is_one(code: str) -> None:
    run = flawless_run()
    refusal = RefusalSample(status=503, at_s=8.0, retry_after_s=1.0, reason=code)
    samples = [msgspec.structs.replace(run.samples[0], status=503, refusals=(refusal,)), *run.samples[1:]]
    booked = run.with_changes(samples=samples)
    assert judge(booked.evidence).result.unexplained == 1
    assert judge(booked.with_changes(faults=[fault("link_response_loss_booking_database", 0.0, 4.0)]).evidence).ok
    certain = msgspec.structs.replace(refusal, reason="overloaded")
    samples[0] = msgspec.structs.replace(samples[0], refusals=(certain,))
    contradiction = run.with_changes(samples=samples, faults=[fault("kill_booking", 0.0, 4.0)])
    assert not judge(contradiction.evidence).ok, "no fault excuses a refusal that says that nothing was stored"


def with_unreceived(flow: str) -> RunRecords:
    message = UnreceivedMessage("booking", "pricing", ONE, f"{ONE}.{flow}", flow, at(1.0))
    return flawless_run().with_database_changes(unreceived=[message])


def losses(verdict: ChaosVerdict) -> list[str]:
    return [violation.detail for violation in verdict.violations if violation.kind == "lost"]


def test_a_sent_message_that_nobody_received_is_lost_even_if_its_booking_is_confirmed() -> None:
    verdict = judge(with_unreceived("quote_fare").evidence)
    assert losses(verdict) == [f"booking sent {ONE}.quote_fare, which pricing has not received"]
    assert verdict.result.lost == 1
    away = with_unreceived("quote_fare").with_changes(faults=[fault("kill_pricing", 0.0, 130.0)])
    assert judge(away.evidence).ok, "it expired before its receiver was back"
    letters = [dead_letter(ONE, message_id=f"{ONE}.quote_fare")]
    assert judge(with_unreceived("quote_fare").with_changes(dead_letters=letters).evidence).ok


def test_a_synchronous_call_that_an_outbox_row_made_counts_as_sent_though_it_failed() -> None:
    run = with_unreceived("quote_fare")
    rows = [msgspec.structs.replace(run.rows[0], couplings=PLANS["sync_api"]), *run.rows[1:]]
    assert not losses(judge(run.with_changes(rows=rows).evidence))


def test_no_fault_excuses_a_lost_event() -> None:
    run = with_unreceived("booking_ended").with_changes(faults=[fault("kill_pricing", 0.0, 500.0)])
    assert len(losses(judge(run.evidence))) == 1


def test_an_offer_without_a_verdict_is_lost_unless_a_fault_kept_it_from_matching() -> None:
    run = flawless_run().with_database_changes(open_offers=[OpenOffer(ONE, "ada-0001", at(1.0))])
    assert len(losses(judge(run.evidence))) == 1
    assert not losses(judge(run.with_changes(faults=[fault("kill_matching", 0.0, 130.0)]).evidence))


def test_overlapping_periods_count_once() -> None:
    def period(start_s: float, end_s: float) -> Period:
        return Period(START + timedelta(seconds=start_s), START + timedelta(seconds=end_s))

    assert union_s([period(5, 9), period(0, 4), period(1, 2), period(8, 10)]) == 9.0
    assert union_s([]) == 0.0
