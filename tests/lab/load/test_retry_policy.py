"""Retries of refused riders: whether, when, and how they are recorded."""

import pytest

from prebook.lab.campaign.scenario_report import retries_line
from prebook.lab.ledger.reconciliation import reconcile
from prebook.lab.load.generator import ClockOrigin, Generator, open_session, prepare_requests
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.retry_policy import NO_RETRIES, RiderRetryPolicy, parse_refusal
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import RefusalSample, Sample
from tests.lab.ledger.accounts_builder import START
from tests.lab.stub_suite import BusySuite, serve_stub

BODY = b'{"code": "overloaded", "detail": "more than can be settled in time (held); try again after 3 s"}'


def refusal(at_s: float = 0.1, retry_after_s: float | None = 1.0) -> RefusalSample:
    return RefusalSample(status=503, at_s=at_s, retry_after_s=retry_after_s, reason="overloaded")


@pytest.mark.parametrize(
    ("status", "refusals", "delay_s"),
    [
        (503, [refusal()], 1.0),
        (429, [refusal(retry_after_s=4.0)], 4.0),
        (503, [refusal(), refusal(at_s=2.0)], 1.0),
        (503, [refusal(), refusal(), refusal()], None),
        (503, [refusal(retry_after_s=None)], None),
        (503, [refusal(at_s=8.0, retry_after_s=3.0)], None),
        (202, [refusal()], None),
        (None, [refusal()], None),
    ],
)
def test_the_delay_until_the_next_attempt(
    status: int | None, refusals: list[RefusalSample], delay_s: float | None
) -> None:
    assert RiderRetryPolicy(max_retries=2, patience_s=10.0).delay_s(status, refusals) == delay_s


def test_without_retries_nobody_retries() -> None:
    assert NO_RETRIES.delay_s(503, [refusal(retry_after_s=0.0)]) is None


def test_a_refusal_records_its_reason_and_a_missing_retry_after() -> None:
    assert parse_refusal(503, 0.2, "3", BODY).reason == "overloaded: held"
    assert parse_refusal(429, 0.2, "7", b'{"code": "rate_limit_exceeded"}').reason == "rate_limit_exceeded"
    assert (
        parse_refusal(503, 0.2, None, b"<html>").retry_after_s,
        parse_refusal(503, 0.2, None, b"<html>").reason,
    ) == (
        None,
        "no_problem_document",
    )


async def offer_rides(suite: BusySuite, retries: RiderRetryPolicy) -> list[Sample]:
    requests = prepare_requests(
        interleave((0.0,) * len(PLANS), tuple(PLANS), "7"),
        run_id="run",
        scenario="calm",
        seed=7,
        week=campaign_week(START),
    )
    async with serve_stub(suite), open_session() as session:
        return list(await Generator(session, suite.url, "calm", retries).offer(requests, ClockOrigin.now()))


async def test_a_refused_rider_retries_with_the_same_key_after_retry_after() -> None:
    suite = BusySuite(refusals=1)
    samples = await offer_rides(suite, RiderRetryPolicy(max_retries=2, patience_s=30.0))

    assert [len(attempts) for attempts in suite.attempts_by_key.values()] == [2] * len(PLANS)
    assert all(attempts[1] - attempts[0] >= 1.0 for attempts in suite.attempts_by_key.values())
    assert {(sample.status, sample.retries, len(sample.refusals)) for sample in samples} == {(202, 1, 1)}
    assert all((sample.response_ms or 0) >= 1000 for sample in samples), "latency counts from the first attempt"


async def test_a_rider_who_is_always_refused_stops_after_the_last_retry() -> None:
    suite = BusySuite(refusals=9)
    samples = await offer_rides(suite, RiderRetryPolicy(max_retries=1, patience_s=30.0))

    assert {(sample.status, sample.retries, len(sample.refusals)) for sample in samples} == {(503, 1, 2)}
    line = retries_line(reconcile(samples, [], []).accounts)
    assert line is not None
    assert (line.riders, line.accepted_on_first_retry, line.accepted_on_any_retry) == (len(PLANS), 0, 0)
