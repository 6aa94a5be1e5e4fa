"""The load generator is an open loop and measures latency from the intended time."""

import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prebook.lab.load.generator import (
    ClockOrigin,
    Generator,
    PreparedRequest,
    failure_reason,
    open_session,
    parse_response,
    prepare_requests,
)
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import OUT_OF_DESCRIPTORS
from tests.lab.ledger.accounts_builder import START
from tests.lab.stub_suite import StubSuite, serve_stub


def requests_at(*offsets: float) -> Sequence[PreparedRequest]:
    planned = interleave(offsets, tuple(PLANS), "7")
    return prepare_requests(planned, run_id="run", scenario="calm", seed=7, week=campaign_week(START))


STALL_S = 3.0
AT_ONCE = (0.0,) * len(PLANS)


async def test_a_stalled_suite_delays_no_arrival_and_adds_its_stall_to_every_latency() -> None:
    requests = requests_at(*(i / 50 for i in range(25)))
    async with serve_stub(StubSuite(stall_s=STALL_S)) as suite, open_session() as session:
        generator = Generator(session, suite.url, "calm")
        origin = ClockOrigin.now().shifted(0.1)
        samples = await generator.offer(requests, origin)
        arrival_span_s = max(suite.arrived) - min(suite.arrived)
    assert len(samples) == 25
    assert arrival_span_s < STALL_S, (
        "25 arrivals are planned within 0.48 s; a closed loop would have waited for the responses"
    )
    assert all((sample.response_ms or 0) >= STALL_S * 1000 for sample in samples)


async def test_latency_counts_from_the_intended_time_and_not_from_the_sending() -> None:
    requests = requests_at(*AT_ONCE)
    async with serve_stub(StubSuite()) as suite, open_session() as session:
        late_origin = ClockOrigin.now().shifted(-0.7)
        samples = await Generator(session, suite.url, "calm").offer(requests, late_origin)
    assert all(sample.lag_ms >= 700 and (sample.response_ms or 0) > sample.lag_ms for sample in samples)


async def test_a_request_that_times_out_is_sent_only_once() -> None:
    requests = requests_at(*AT_ONCE)
    async with serve_stub(StubSuite(stall_s=5.0)) as suite, open_session(timeout_s=0.3) as session:
        samples = await Generator(session, suite.url, "calm").offer(requests, ClockOrigin.now())
        assert len(suite.arrived) == len(requests)
    assert {(sample.error, sample.status) for sample in samples} == {("timeout", None)}


async def test_a_refused_connection_is_a_failed_request_and_no_crash() -> None:
    requests = requests_at(*AT_ONCE)
    async with open_session() as session:
        samples = await Generator(session, "http://127.0.0.1:9", "calm").offer(requests, ClockOrigin.now())
    assert {(sample.error, sample.reason) for sample in samples} == {("connection", "ConnectionRefusedError")}


def test_a_response_that_neither_accepts_nor_refuses_is_named_by_its_problem() -> None:
    conflict = parse_response(409, b'{"code": "request_in_progress"}', "1")
    assert failure_reason(conflict) == "request_in_progress"
    assert failure_reason(parse_response(500, b"Internal Server Error")) == "no_problem_document"
    assert failure_reason(parse_response(202, b'{"id": "bk_1"}')) == ""
    assert failure_reason(parse_response(503, b"")) == "", "a refusal has its own reason"


async def test_a_request_without_a_file_descriptor_is_named_as_such() -> None:
    requests = requests_at(*AT_ONCE)
    async with serve_stub(StubSuite()) as suite, open_session() as session:
        with no_descriptors_left():
            samples = await Generator(session, suite.url, "calm").offer(requests, ClockOrigin.now())
    assert {sample.error for sample in samples} == {OUT_OF_DESCRIPTORS}


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let this process open no further file descriptor while the block runs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
