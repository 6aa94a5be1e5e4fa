"""How many arrivals this generator drives, and how late it is itself: against the least that answers at all."""

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
    arrivals: int
    planned_per_s: float
    offered_per_s: float
    """From the first to the last request that left."""
    accepted: int
    cpu_us: float
    """Processor time of this process for each arrival, microseconds."""
    lag_ms: LatencySummary
    """How much later than intended requests left."""
    response_ms: LatencySummary
    """From the intended moment to the answer."""


class NoArrivals(Exception):
    """Not one ride for all plans arrives in that time."""


async def run_self_test(rate_per_s: float, duration_s: float) -> SelfTestReport:
    """Raises NothingToDrive, and TimeoutError where the answerer does not start."""
    offers = interleave(
        arrival_offsets(Arrivals(ArrivalProcess.CONSTANT, rate_per_s, duration_s), "self"), tuple(PLANS), "self"
    )
    if not offers:
        raise NoArrivals(f"fewer than {len(PLANS)} arrivals in {duration_s:g} s at {rate_per_s:g} a second")
    orders = prepare_requests(offers, run_id="self", scenario="test", seed=7, week=campaign_week(datetime.now(UTC)))
    async with run_stub_server() as url, open_session() as session:
        generator = Generator(session, url, "test")
        origin = ClockOrigin.now().shifted(START_DELAY_S)
        began = time.process_time()
        seen = await generator.offer(orders, origin)
        cpu_s = time.process_time() - began
    return self_test_report(seen, rate_per_s, cpu_s)


def self_test_report(samples: Sequence[Sample], rate_per_s: float, cpu_s: float) -> SelfTestReport:
    """``seen`` is not empty."""
    left = sorted(sample.intended_at.timestamp() + sample.lag_ms / 1e3 for sample in samples)
    return SelfTestReport(
        arrivals=len(samples),
        planned_per_s=rate_per_s,
        offered_per_s=round((len(left) - 1) / max(left[-1] - left[0], 1e-9), 1),
        accepted=sum(sample.accepted for sample in samples),
        cpu_us=round(cpu_s / len(samples) * 1e6, 1),
        lag_ms=latency_summary(sample.lag_ms for sample in samples),
        response_ms=latency_summary(sample.response_ms for sample in samples if sample.response_ms is not None),
    )


@asynccontextmanager
async def run_stub_server() -> AsyncIterator[str]:
    """The base URL of an answerer in a process of its own, which is gone again afterwards."""
    command = (sys.executable, "-m", "prebook.lab.load.stub_server")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(STUB_START_TIMEOUT_S):
            line = await process.stdout.readline() if process.stdout else b""
        yield f"http://127.0.0.1:{int(line)}"
    finally:
        process.terminate()
        await process.wait()
