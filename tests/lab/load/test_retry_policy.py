"""Riders who are refused: who comes back, when, and what is kept of it."""

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


def refused(at_s: float = 0.1, told_s: float | None = 1.0) -> RefusalSample:
    return RefusalSample(status=503, at_s=at_s, retry_after_s=told_s, reason="overloaded")


@pytest.mark.parametrize(
    ("status", "refusals", "pause_s"),
    [
        (503, [refused()], 1.0),
        (429, [refused(told_s=4.0)], 4.0),
        (503, [refused(), refused(at_s=2.0)], 1.0),
        (503, [refused(), refused(), refused()], None),
        (503, [refused(told_s=None)], None),
        (503, [refused(at_s=8.0, told_s=3.0)], None),
        (202, [refused()], None),
        (None, [refused()], None),
    ],
)
def test_who_comes_back_and_when(status: int | None, refusals: list[RefusalSample], pause_s: float | None) -> None:
    assert RiderRetryPolicy(max_retries=2, patience_s=10.0).delay_s(status, refusals) == pause_s


def test_nobody_comes_back_unless_it_is_wanted() -> None:
    assert NO_RETRIES.delay_s(503, [refused(told_s=0.0)]) is None


def test_a_refusal_names_what_was_full_and_a_silent_one_is_known_as_such() -> None:
    assert parse_refusal(503, 0.2, "3", BODY).reason == "overloaded: held"
    assert parse_refusal(429, 0.2, "7", b'{"code": "rate_limit_exceeded"}').reason == "rate_limit_exceeded"
    assert (
        parse_refusal(503, 0.2, None, b"<html>").retry_after_s,
        parse_refusal(503, 0.2, None, b"<html>").reason,
    ) == (
        None,
        "no_problem_document",
    )


async def offered(suite: BusySuite, returns: RiderRetryPolicy) -> list[Sample]:
    orders = prepare_requests(
        interleave((0.0,) * len(PLANS), tuple(PLANS), "7"),
        run_id="run",
        scenario="calm",
        seed=7,
        week=campaign_week(START),
    )
    async with serve_stub(suite), open_session() as session:
        return list(await Generator(session, suite.url, "calm", returns).offer(orders, ClockOrigin.now()))


async def test_a_refused_rider_comes_back_with_the_same_key_not_before_the_told_time() -> None:
    suite = BusySuite(refusals=1)
    samples = await offered(suite, RiderRetryPolicy(max_retries=2, patience_s=30.0))

    assert [len(visits) for visits in suite.seen.values()] == [2] * len(PLANS)
    assert all(visits[1] - visits[0] >= 1.0 for visits in suite.seen.values())
    assert {(sample.status, sample.retries, len(sample.refusals)) for sample in samples} == {(202, 1, 1)}
    assert all((sample.response_ms or 0) >= 1000 for sample in samples), "from the first intended moment"


async def test_who_is_refused_each_time_goes_away_in_the_end() -> None:
    suite = BusySuite(refusals=9)
    samples = await offered(suite, RiderRetryPolicy(max_retries=1, patience_s=30.0))

    assert {(sample.status, sample.retries, len(sample.refusals)) for sample in samples} == {(503, 1, 2)}
    line = retries_line(reconcile(samples, [], []).accounts)
    assert line is not None
    assert (line.riders, line.accepted_on_first_retry, line.accepted_on_any_retry) == (len(PLANS), 0, 0)
