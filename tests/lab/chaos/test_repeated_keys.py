"""The contract of an Idempotency-Key: each breach of it fails a run, and each permitted response passes."""

from datetime import timedelta

import msgspec
import pytest

from prebook.lab.chaos.judge import judge
from prebook.lab.chaos.repeated_keys import Repetition, contract_violations, merge_attempts, running_until
from prebook.lab.load.samples import Sample
from tests.lab.chaos.evidence_builder import RunRecords, flawless_run, repeated
from tests.lab.ledger.accounts_builder import at, sample

FIRST = flawless_run().samples[0]
BOOKING = "bk_one_way_0"
REUSED = "idempotency_key_reused"


def breaches(*attempts: Repetition, run: RunRecords | None = None) -> list[str]:
    """Return the violations of a flawless run with further ``attempts``; the run passes if there is none."""
    records = run or flawless_run()
    verdict = judge(records.with_changes(repetitions=[*records.repetitions, *attempts]).evidence)
    assert verdict.ok == (not verdict.violations)
    return [violation.detail for violation in verdict.violations]


def test_every_response_to_a_key_names_the_one_booking() -> None:
    assert not breaches(repeated(FIRST), repeated(FIRST, status=201))
    (found,) = breaches(repeated(FIRST, booking_id="bk_second"))
    assert "name 2 bookings" in found


def test_two_bookings_of_one_key_fail_the_run() -> None:
    run = flawless_run()
    second = msgspec.structs.replace(run.rows[0], booking_id="bk_second", driver="d-9")
    assert any(
        "2 bookings with one key" in detail for detail in breaches(run=run.with_changes(rows=[*run.rows, second]))
    )


def test_a_repetition_that_was_accepted_has_a_booking() -> None:
    run = flawless_run()
    unknown = sample(7, when=1.0, status=503)
    accepted = repeated(unknown, booking_id="bk_nowhere")
    samples = [*run.samples, *merge_attempts([unknown], [accepted])]
    found = breaches(accepted, run=run.with_changes(samples=samples, first_samples=[*run.samples, unknown]))
    assert any("but booking has no row" in detail for detail in found)
    assert any("booking has no row with its key" in detail for detail in found)


def test_another_body_is_refused() -> None:
    assert not breaches(repeated(FIRST, is_same_body=False, status=422, code=REUSED))
    for status, code in ((202, ""), (409, "request_in_progress"), (422, "invalid_booking"), (500, "internal_error")):
        (found,) = breaches(repeated(FIRST, is_same_body=False, status=status, code=code))
        assert f"another body was answered with {status}" in found


def test_409_is_permitted_only_while_the_first_request_is_running() -> None:
    answered_at = FIRST.intended_at + timedelta(milliseconds=FIRST.response_ms or 0)
    before = repeated(FIRST, status=409, sent_at=answered_at - timedelta(milliseconds=5))
    after = repeated(FIRST, status=409, sent_at=answered_at + timedelta(milliseconds=5))
    assert not breaches(before)
    (found,) = breaches(after)
    assert "answered with 409" in found


def test_a_ride_that_calls_at_once_may_be_accepted_late_before_its_request_ends() -> None:
    def may_run(
        label: str, status: int, after_s: float, *, response_s: float = 8.0, is_disturbed: bool = False
    ) -> bool:
        ride = msgspec.structs.replace(sample(0, label=label, status=status), response_ms=response_s * 1e3)
        until = running_until(ride, [], is_disturbed=is_disturbed)
        return until is not None and ride.intended_at + timedelta(seconds=after_s) <= until

    assert may_run("sync_api", 202, 9.0)
    assert not may_run("sync_api", 202, 20.0)
    assert not may_run("sync_api", 201, 9.0)
    assert not may_run("one_way", 202, 9.0)
    assert not may_run("sync_api", 202, 9.0, response_s=0.1), "its response has been stored"
    assert may_run("sync_api", 202, 9.0, response_s=0.1, is_disturbed=True)


@pytest.mark.parametrize("status", [400, 404, 422, 500, 502])
def test_the_same_body_is_never_refused_as_wrong(status: int) -> None:
    (found,) = breaches(repeated(FIRST, status=status))
    assert f"a repeated request was answered with {status}" in found


@pytest.mark.parametrize("status", [429, 503, None])
@pytest.mark.parametrize("is_same_body", [True, False])
def test_a_repetition_may_be_refused_for_load_or_get_no_response(status: int | None, is_same_body: bool) -> None:
    assert not list(contract_violations(FIRST, [repeated(FIRST, is_same_body=is_same_body, status=status)], [BOOKING]))


def first(status: int | None) -> Sample:
    return sample(0, status=status, error=None if status else "timeout", when=1.0)


def test_a_rider_knows_the_best_of_all_attempts() -> None:
    accepted = repeated(first(202), booking_id="bk_1")
    refused = repeated(first(202), status=503)
    silent = repeated(first(202), status=None)
    in_progress = repeated(first(202), status=409)
    other = repeated(first(202), is_same_body=False, status=202, booking_id="bk_2")

    def merged(status: int | None, *attempts: Repetition) -> tuple[int | None, str | None]:
        (known,) = merge_attempts([first(status)], attempts)
        return known.status, known.booking_id

    assert merged(503, refused, accepted) == (202, "bk_1")
    assert merged(None, accepted) == (202, "bk_1")
    assert merged(503, silent) == (None, None), "the silent attempt may have made a booking"
    assert merged(409, refused) == (None, None)
    assert merged(503, in_progress) == (None, None)
    assert merged(503, refused) == (503, None)
    assert merged(503, refused._replace(code="response_timeout")) == (None, None)
    assert merged(500, refused) == (500, None)
    assert merged(503, other) == (503, None)
    assert merged(202, accepted)[0] == 202
    assert merge_attempts([first(503)], [])[0].intended_at == at(1.0)
