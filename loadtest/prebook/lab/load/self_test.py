"""Self-test of the load generator: rate and lag against a minimal HTTP server."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from prebook.lab.load.arrivals import ArrivalProcess, Arrivals, arrival_offsets
from prebook.lab.load.generator import ClockOrigin, Generator, open_session, prepare_requests
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample
from prebook.lab.quantiles import LatencySummary, latency_summary

START_DELAY_S = 0.3
STUB_START_TIMEOUT_S = 10.0


class SelfTestReport(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a self-test."""

    arrivals: int
    planned_per_s: float
    offered_per_s: float
    """Rate between the first and the last request sent."""
    accepted: int
    cpu_us: float
    """CPU time of the generator's process per arrival, in microseconds."""
    lag_ms: LatencySummary
    """Delay of sending after the intended time."""
    response_ms: LatencySummary
    """Time from the intended time to the response."""


class NoArrivals(Exception):
    """Rate and duration are too small for one ride under every plan."""


async def run_self_test(rate_per_s: float, duration_s: float) -> SelfTestReport:
    """Send constant arrivals to a stub server and return the figures.

    Raises:
        NoArrivals: rate and duration are too small.
        TimeoutError: the stub server does not start within STUB_START_TIMEOUT_S.
    """
    planned = interleave(
        arrival_offsets(Arrivals(ArrivalProcess.CONSTANT, rate_per_s, duration_s), "self"), tuple(PLANS), "self"
    )
    if not planned:
        raise NoArrivals(f"fewer than {len(PLANS)} arrivals in {duration_s:g} s at {rate_per_s:g} per second")
    requests = prepare_requests(planned, run_id="self", scenario="test", seed=7, week=campaign_week(datetime.now(UTC)))
    async with run_stub_server() as url, open_session() as session:
        generator = Generator(session, url, "test")
        origin = ClockOrigin.now().shifted(START_DELAY_S)
        cpu_started_s = time.process_time()
        samples = await generator.offer(requests, origin)
        cpu_s = time.process_time() - cpu_started_s
    return self_test_report(samples, rate_per_s, cpu_s)


def self_test_report(samples: Sequence[Sample], rate_per_s: float, cpu_s: float) -> SelfTestReport:
    """Return the figures of ``samples``, which is not empty; ``cpu_s`` is the CPU time of all of them."""
    sent_at = sorted(sample.intended_at.timestamp() + sample.lag_ms / 1e3 for sample in samples)
    return SelfTestReport(
        arrivals=len(samples),
        planned_per_s=rate_per_s,
        offered_per_s=round((len(sent_at) - 1) / max(sent_at[-1] - sent_at[0], 1e-9), 1),
        accepted=sum(sample.accepted for sample in samples),
        cpu_us=round(cpu_s / len(samples) * 1e6, 1),
        lag_ms=latency_summary(sample.lag_ms for sample in samples),
        response_ms=latency_summary(sample.response_ms for sample in samples if sample.response_ms is not None),
    )


@asynccontextmanager
async def run_stub_server() -> AsyncIterator[str]:
    """Run a stub server in its own process while the block runs; yield its base URL."""
    command = (sys.executable, "-m", "prebook.lab.load.stub_server")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(STUB_START_TIMEOUT_S):
            line = await process.stdout.readline() if process.stdout else b""
        yield f"http://127.0.0.1:{int(line)}"
    finally:
        process.terminate()
        await process.wait()
