"""Losses that a fault elsewhere, or at another time, must not explain away. Each was excused by an earlier judge."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import pytest

from prebook.contracts.ride import BookingState
from prebook.lab.chaos.database import ExpiredMessage, OvertakenMessage
from prebook.lab.chaos.evidence import InjectedFault
from prebook.lab.chaos.judge import judge
from prebook.lab.chaos.slowness import MACHINE, SlowPeriod
from prebook.lab.load.samples import RefusalSample
from tests.lab.chaos.evidence_builder import RunRecords, flawless_run, repeated, with_end
from tests.lab.ledger.accounts_builder import at

ONE = "bk_one_way_0"
CALL_FAILED = (BookingState.FAILED, "no fare: unreachable")
INTERRUPTED = (BookingState.EXPIRED, "no fare: deadline")


def fault(name: str, at_s: float, duration_s: float = 2.0) -> InjectedFault:
    return InjectedFault(name=name, at_s=at_s, took_effect=True, duration_s=duration_s)


def found(run: RunRecords, *faults: InjectedFault) -> Sequence[str]:
    """Return the violations of ``run`` under ``faults``."""
    return [violation.detail for violation in judge(run.with_changes(faults=faults).evidence).violations]


def with_silent_request(error: str, label: str = "one_way") -> RunRecords:
    """Add a request at 3 s without a response and without a booking."""
    run = flawless_run()
    changes = {"status": None, "error": error, "response_ms": None, "booking_id": None, "named_state": None}
    silent = msgspec.structs.replace(run.samples[0], key="silent", ride=9, label=label, intended_at=at(3.0), **changes)
    return run.with_changes(samples=[*run.samples, silent])


@pytest.mark.parametrize(
    "name", ["link_cut_http_booking", "pause_pricing", "kill_matching", "link_slow_pricing_database", "broker_kill"]
)
@pytest.mark.parametrize("error", ["timeout", "connection"])
def test_silence_is_not_explained_by_a_fault_of_a_provider_or_a_link_that_riders_do_not_use(
    name: str, error: str
) -> None:
    assert found(with_silent_request(error, "sync_api"), fault(name, 3.0))


@pytest.mark.parametrize("name", ["pause_booking", "brownout_booking", "database_kill", "link_cut_booking_database"])
def test_a_lost_connection_is_explained_only_by_the_end_of_the_process(name: str) -> None:
    assert not found(with_silent_request("timeout"), fault(name, 3.0))
    assert found(with_silent_request("connection"), fault(name, 3.0))
    assert not found(with_silent_request("connection"), fault("kill_booking", 3.0))
    assert not found(with_silent_request("connection"), fault("clock_skew_booking", 3.0))
    assert found(with_silent_request("connection"), fault("kill_booking", 14.0))


def test_silence_is_explained_by_a_stall_of_booking_and_by_no_other_overload() -> None:
    run = with_silent_request("timeout")
    stalled = run.with_changes(slow=[SlowPeriod("booking", at(5.0), at(7.0))])
    assert not found(stalled, fault("kill_operations", 90.0))
    for slow in (
        SlowPeriod("booking", at(5.0), at(6.5)),
        SlowPeriod("booking", at(15.0), at(17.0)),
        SlowPeriod("pricing", at(5.0), at(7.0)),
        SlowPeriod(MACHINE, at(0.0), at(20.0)),
    ):
        assert found(run.with_changes(slow=[slow]), fault("kill_operations", 90.0))
    lost = with_silent_request("connection").with_changes(slow=stalled.slow)
    assert found(lost, fault("kill_operations", 90.0)), "a stall closes no connection"


def test_a_repetition_without_a_response_needs_a_fault_at_its_own_time() -> None:
    run = flawless_run()
    sent_at = at(40.0)
    silent = repeated(run.samples[0], status=None, error="timeout", sent_at=sent_at, answered_at=at(50.0))
    repeated_run = run.with_changes(repetitions=[*run.repetitions, silent])
    assert found(repeated_run, fault("pause_booking", 0.0)) == [
        "the request got no response to its repetition, and no injected fault can have caused it"
    ]
    assert not found(repeated_run, fault("pause_booking", 45.0))


def test_a_rider_who_never_hears_more_than_that_the_request_is_running_needs_a_fault() -> None:
    run = with_silent_request("in progress")
    first = msgspec.structs.replace(run.samples[-1], status=503, error=None, response_ms=10.0)
    running = repeated(first, status=409, code="request_in_progress")
    unknown = run.with_changes(first_samples=[*run.samples[:-1], first], repetitions=[*run.repetitions, running])
    assert any("got no result" in detail for detail in found(unknown))
    assert not found(unknown, fault("database_kill", 3.0))


def with_late_end(label: str, state: BookingState, reason: str) -> RunRecords:
    """End a ride with a synchronous call, that was offered at 0 s, after 40 s."""
    return with_end(flawless_run(), 0, state, reason, when=40.0, label=label)


def test_a_call_does_not_use_the_link_to_its_caller() -> None:
    run = with_late_end("sync_api", *CALL_FAILED)
    assert not found(run, fault("link_cut_http_pricing", 38.0))
    assert found(run, fault("link_cut_http_booking", 38.0))
    by_callback = with_end(flawless_run(), 0, *INTERRUPTED, when=125.0, label="async_api")
    assert not found(by_callback, fault("link_cut_http_booking", -1.0, 130.0))


def test_a_call_that_failed_late_is_not_explained_by_a_fault_when_the_ride_was_offered() -> None:
    run = with_late_end("sync_api", *CALL_FAILED)
    assert found(run, fault("pause_pricing", 0.0, 4.0))
    assert not found(run, fault("pause_pricing", 37.0, 4.0))


def test_an_interrupted_call_is_explained_only_by_its_caller_or_database_when_it_was_made() -> None:
    run = with_late_end("sync_api", *INTERRUPTED)
    for name in ("kill_booking", "database_kill", "link_response_loss_booking_database"):
        assert not found(run, fault(name, 5.0))
        assert found(run, fault(name, 37.0)), "the call was over by then"
    for name in ("kill_pricing", "pause_pricing", "link_cut_http_pricing", "link_cut_http_booking"):
        assert found(run, fault(name, 5.0)), "booking would have heard of it"
        assert found(run, fault(name, 37.0))


def test_a_rejection_without_offers_may_follow_from_calls_that_failed_or_were_interrupted() -> None:
    run = with_late_end("sync_api", BookingState.REJECTED, "no driver: no fleet has a driver")
    assert not found(run, fault("pause_fleets", 38.0, 4.0))
    assert not found(run, fault("kill_matching", 5.0))
    (violation,) = found(run, fault("pause_fleets", 5.0))
    assert "(no driver: no fleet has a driver) with sync_api, and no injected fault" in violation
    assert found(run, fault("kill_booking", 5.0))


def test_a_refusal_that_leaves_the_booking_open_is_not_explained_by_a_fault_after_it() -> None:
    run = flawless_run()
    refusal = RefusalSample(status=503, at_s=8.0, retry_after_s=1.0, reason="response_timeout")
    refused = msgspec.structs.replace(run.samples[0], status=503, refusals=(refusal,), response_ms=8000.0)
    booked = run.with_changes(samples=[refused, *run.samples[1:]])
    assert not found(booked, fault("pause_booking", 2.0))
    assert found(booked, fault("pause_booking", 9.0))
    assert found(booked, fault("pause_pricing", 2.0)), "booking answers in time however long pricing takes"


def with_expired_message(flow: str) -> RunRecords:
    message = ExpiredMessage("booking", ONE, f"{ONE}.{flow}", flow, at(1.0))
    return flawless_run().with_database_changes(expired=[message])


def test_a_message_that_expired_unsent_needs_a_fault_until_its_deadline() -> None:
    assert found(with_expired_message("quote_fare")) == [
        f"{ONE}.quote_fare expired in the outbox of booking, and no injected fault can have caused it"
    ]
    assert found(with_expired_message("quote_fare"), fault("broker_kill", 1.0, 20.0))
    assert not found(with_expired_message("quote_fare"), fault("broker_kill", 1.0, 130.0))
    assert found(with_expired_message("booking_ended"), fault("broker_kill", 1.0, 130.0)), "an event has no deadline"


def with_overtaken(resent_at: datetime | None) -> RunRecords:
    message = OvertakenMessage("booking", ONE, f"{ONE}.report_due.confirmed", at(10.0), resent_at)
    return flawless_run().with_database_changes(overtaken=[message])


def test_a_message_is_not_overtaken_if_the_database_forgot_that_the_earlier_one_was_sent() -> None:
    assert not found(with_overtaken(at(20.0)), fault("database_kill", 9.0, 3.0))
    assert not found(with_overtaken(at(20.0)), fault("kill_pricing", 0.0), fault("database_kill", 9.0, 3.0))
    assert found(with_overtaken(None), fault("database_kill", 9.0, 3.0)), "the earlier one was sent once"
    assert found(with_overtaken(at(20.0)), fault("database_kill", 21.0, 3.0)), "it was sent again before"
    for name in ("database_restart", "broker_kill", "kill_booking"):
        assert found(with_overtaken(at(20.0)), fault(name, 9.0, 3.0)), "no commit is lost"
