"""How many arrivals this generator drives, and how late it is itself: against the least that answers at all."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from prebook.lab.load.arrivals import Arrivals, Process, offsets
from prebook.lab.load.generator import Generator, Origin, open_session, prepare
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample
from prebook.lab.quantiles import Latency, latency

LEAD_S, STARTS_WITHIN_S = 0.3, 10.0


class SelfTest(msgspec.Struct, frozen=True, kw_only=True):
    arrivals: int
    planned_per_s: float
    offered_per_s: float
    """From the first to the last request that left."""
    answered: int
    cpu_us: float
    """Processor time of this process for each arrival, microseconds."""
    lag_ms: Latency
    """How much later than intended requests left."""
    answer_ms: Latency
    """From the intended moment to the answer."""


class NothingToDrive(Exception):
    """Not one ride for all plans arrives in that time."""


async def driven(rate_per_s: float, duration_s: float) -> SelfTest:
    """Raises NothingToDrive, and TimeoutError where the answerer does not start."""
    offers = interleave(offsets(Arrivals(Process.CONSTANT, rate_per_s, duration_s), "self"), tuple(PLANS), "self")
    if not offers:
        raise NothingToDrive(f"fewer than {len(PLANS)} arrivals in {duration_s:g} s at {rate_per_s:g} a second")
    orders = prepare(offers, run="self", scenario="test", seed=7, week=campaign_week(datetime.now(UTC)))
    async with answering() as url, open_session() as session:
        generator, origin = Generator(session, url, "test"), Origin.now().later(LEAD_S)
        began = time.process_time()
        seen = await generator.offer(orders, origin)
        cpu_s = time.process_time() - began
    return measured(seen, rate_per_s, cpu_s)


def measured(seen: Sequence[Sample], rate_per_s: float, cpu_s: float) -> SelfTest:
    """``seen`` is not empty."""
    left = sorted(sample.intended_at.timestamp() + sample.lag_ms / 1e3 for sample in seen)
    return SelfTest(
        arrivals=len(seen),
        planned_per_s=rate_per_s,
        offered_per_s=round((len(left) - 1) / max(left[-1] - left[0], 1e-9), 1),
        answered=sum(sample.accepted for sample in seen),
        cpu_us=round(cpu_s / len(seen) * 1e6, 1),
        lag_ms=latency(sample.lag_ms for sample in seen),
        answer_ms=latency(sample.accept_ms for sample in seen if sample.accept_ms is not None),
    )


@asynccontextmanager
async def answering() -> AsyncIterator[str]:
    """The base URL of an answerer in a process of its own, which is gone again afterwards."""
    command = (sys.executable, "-m", "prebook.lab.load.stub_server")
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(STARTS_WITHIN_S):
            line = await process.stdout.readline() if process.stdout else b""
        yield f"http://127.0.0.1:{int(line)}"
    finally:
        process.terminate()
        await process.wait()
