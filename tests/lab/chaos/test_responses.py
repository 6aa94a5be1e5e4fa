"""Responses to riders: each agrees with booking's row, and a run with one that does not fails."""

import msgspec
import pytest

from prebook.lab.chaos.database import PhantomEffect
from prebook.lab.chaos.evidence import Cancellation
from prebook.lab.chaos.judge import judge
from tests.lab.chaos.evidence_builder import CONFIRMED, FAULT, RunRecords, flawless_run
from tests.lab.ledger.accounts_builder import at, refused

ONE = "bk_one_way_0"


def defects_found(run: RunRecords) -> str:
    verdict = judge(run.evidence)
    assert verdict.ok == (not verdict.violations)
    return "\n".join(violation.detail for violation in verdict.violations)


def with_response(run: RunRecords, **changes: object) -> RunRecords:
    return run.with_changes(samples=[msgspec.structs.replace(run.samples[0], **changes), *run.samples[1:]])


def with_cancellation(run: RunRecords, status: int | None, *, cancelled: bool = False) -> RunRecords:
    states = (*CONFIRMED, "cancelled") if cancelled else CONFIRMED
    return run.with_changes(
        cancellations=[Cancellation(ONE, at(2.0), status, answered_at=at(2.5))]
    ).with_database_changes(histories={**run.database.histories, ONE: states})


def test_a_response_that_names_another_booking_fails_the_run() -> None:
    run = with_response(flawless_run(), booking_id="bk_of_somebody_else")
    assert f"the response names booking bk_of_somebody_else, but booking's row is {ONE}" in defects_found(run)


@pytest.mark.parametrize("status", [500, 502, 504, 404, 409, 422])
def test_an_error_answered_to_a_valid_request_fails_the_run_with_and_without_a_booking(status: int) -> None:
    run = with_response(flawless_run(), status=status, booking_id=None)
    assert f"answered with {status}" in defects_found(run)
    nothing_stored = with_response(flawless_run(), status=status, booking_id=None, key="unknown key")
    assert f"answered with {status}" in defects_found(nothing_stored)


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusal_of_a_booking_that_was_made_fails_the_run(status: int) -> None:
    assert f"refused with status {status}, yet" in defects_found(with_response(flawless_run(), status=status))
    assert not defects_found(flawless_run().with_changes(samples=[*flawless_run().samples, refused(9, 1.0).sample]))


def test_a_cancellation_that_was_confirmed_to_the_rider_is_in_the_history() -> None:
    assert "answered with 200, but the booking is confirmed" in defects_found(with_cancellation(flawless_run(), 200))
    assert "cancellation" not in defects_found(with_cancellation(flawless_run(), 200, cancelled=True))


def test_a_cancellation_is_refused_only_if_the_booking_is_over() -> None:
    assert "answered with 409, but the booking is confirmed" in defects_found(with_cancellation(flawless_run(), 409))
    assert "answered with 409, but the booking is cancelled" in defects_found(
        with_cancellation(flawless_run(), 409, cancelled=True)
    )


@pytest.mark.parametrize("status", [404, 500, 202])
def test_a_cancellation_has_no_other_answer(status: int) -> None:
    assert f"a cancellation was answered with {status}" in defects_found(with_cancellation(flawless_run(), status))


@pytest.mark.parametrize("status", [503, None])
@pytest.mark.parametrize("cancelled", [True, False])
def test_a_cancellation_without_an_answer_may_have_taken_effect_if_a_fault_can_have_caused_that(
    status: int | None, cancelled: bool
) -> None:
    run = with_cancellation(flawless_run(), status, cancelled=cancelled)
    assert f"a cancellation got {status or 'no response'}, and no injected fault" in defects_found(run)
    fault = msgspec.structs.replace(FAULT, name="pause_booking", at_s=1.0)
    assert "cancellation" not in defects_found(run.with_changes(faults=[fault]))
    elsewhere = msgspec.structs.replace(FAULT, name="pause_notification", at_s=1.0)
    assert "cancellation" in defects_found(run.with_changes(faults=[elsewhere]))


def with_named(run: RunRecords, status: int = 202, **named: object) -> RunRecords:
    """Let the first response name a state or a fare of its own."""
    return with_response(run, status=status, **{f"named_{name}": value for name, value in named.items()})


def test_a_response_names_a_state_that_the_booking_has_had() -> None:
    assert "names the state rejected, but the booking's states are requested, priced" in defects_found(
        with_named(flawless_run(), 201, state="rejected")
    )
    assert "names the state None" in defects_found(with_named(flawless_run(), state=None))
    assert not defects_found(with_named(flawless_run(), state="priced", fare_cents=1000))


def test_201_names_a_settled_state_and_202_an_open_one() -> None:
    confirmed = {"state": "confirmed", "fare_cents": 1000}
    assert not defects_found(with_named(flawless_run(), 201, **confirmed))
    assert "status 202 names the state confirmed" in defects_found(with_named(flawless_run(), 202, **confirmed))
    assert "status 201 names the state priced" in defects_found(
        with_named(flawless_run(), 201, state="priced", fare_cents=1000)
    )


@pytest.mark.parametrize(("state", "fare_cents"), [("confirmed", 1), ("confirmed", None), ("requested", 1)])
def test_a_response_names_the_fare_of_the_booking(state: str, fare_cents: int | None) -> None:
    run = with_named(flawless_run(), 201 if state == "confirmed" else 202, state=state, fare_cents=fare_cents)
    assert f"names a fare of {fare_cents} cents, but the fare is 1000 cents" in defects_found(run)


def test_a_booking_that_nobody_cancelled_stays() -> None:
    run = with_cancellation(flawless_run(), 200, cancelled=True).with_changes(cancellations=())
    assert "its rider has not asked for that" in defects_found(run)


def test_an_effect_without_a_booking_fails_the_run() -> None:
    run = flawless_run().with_database_changes(phantoms=[PhantomEffect("pricing.discount_grant", "bk_rolled_back")])
    assert "pricing.discount_grant has a row of it, but there is no such booking" in defects_found(run)
