"""Whether memory stays flat under steady load: all plans at 0.8 of their common knee, for minutes.

Every 5 s the resident memory of each process that it shares with nobody: the database's shared buffers fill up by and
by, which is no leak.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from prebook.devstack.errors import UserError
from prebook.lab.bench.options import OPTIONS
from prebook.lab.bench.ride_load import RideLoad, RideLoadResult
from prebook.lab.bench.rows import BenchRow, RoundSpread, round_significant
from prebook.lab.bench.subjects.ride_figures import RideFigures, measure_knee
from prebook.lab.bench.suite import start_suite
from prebook.lab.bench.testbed import BenchTestbed
from prebook.lab.process_tree import read_private_bytes

LOAD_SHARE = 0.8
SAMPLE_INTERVAL_S = 5.0
WARMUP_SHARE = 0.2
"""Share of the time that is left out: pools and caches fill."""
SEGMENTS = 10
STUDENT_95 = 2.306
"""The rest is cut in ten, and a line laid through their medians: eight degrees of freedom."""
MB = 1e6
MAX_GROWTH_PER_MIN = 0.002
"""Of its memory a minute: what can be shown to grow less than that (an eighth in an hour) is flat."""
MemorySamples = Mapping[str, Sequence[float]]
"""Part -> bytes, one for each look."""


async def measure(testbed: BenchTestbed, _rounds: int) -> list[BenchRow]:
    options = OPTIONS.get()
    async with start_suite(testbed.folder / "soak") as suite:
        riders = RideLoad(suite, "soak")
        found = RideFigures()
        await measure_knee(riders, options.plans, found)
        if not found.knee_per_s:
            raise UserError(
                f"no rate that it keeps up with: {found.knee_limit}", "run it when the machine does nothing else"
            )
        rate = LOAD_SHARE * found.knee_per_s
        offered, samples = await _run_soak(riders, options.plans, rate, options.minutes)
    told = f"{rate:.1f} rides/s for {options.minutes:g} min, {offered.settled} of {offered.rides} settled"
    return [_row(name, values, options.minutes, told) for name, values in samples.items()]


async def _run_soak(
    load: RideLoad, plans: Sequence[str], rate: float, minutes: float
) -> tuple[RideLoadResult, MemorySamples]:
    samples: dict[str, list[float]] = defaultdict(list)
    looking = asyncio.create_task(_sample_memory(await load.suite.read_pids(), samples))
    try:
        offered = await load.offer(plans, rate, round(rate * 60 * minutes))
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    return offered, samples


async def _sample_memory(pids: Mapping[str, int], samples: dict[str, list[float]]) -> None:
    while True:
        for name, value in (await asyncio.to_thread(read_private_bytes, pids)).items():
            samples[name].append(value)
        await asyncio.sleep(SAMPLE_INTERVAL_S)


def _row(name: str, values: Sequence[float], minutes: float, load_text: str) -> BenchRow:
    settled = values[round(len(values) * WARMUP_SHARE) :]
    slope, reach = fit_slope(settled, minutes * (1 - WARMUP_SHARE))
    flat = slope - reach <= 0 or slope + reach < MAX_GROWTH_PER_MIN * fmean(settled)
    judged = "flat" if flat else "grows"
    return BenchRow(
        name=f"soak: own memory of {name}",
        ours=round_significant(slope / MB),
        baseline=None,
        baseline_name="",
        unit="MB/min",
        ratio=None,
        goal=f"flat, or < {MAX_GROWTH_PER_MIN:.1%} a minute",
        met=flat,
        note=f"{judged}: {slope / MB:+.3f} +- {reach / MB:.3f} MB/min (95 %), {settled[0] / MB:.0f} to "
        f"{settled[-1] / MB:.0f} MB; {load_text}",
        spread={
            "ours": RoundSpread(
                median=round_significant(median(settled) / MB),
                low=round_significant(min(settled) / MB),
                high=round_significant(max(settled) / MB),
            )
        },
    )


def fit_slope(values: Sequence[float], minutes: float) -> tuple[float, float]:
    """Growth for each minute and half the width of its 95 % interval, by least squares through the parts' medians."""
    cut = [values[len(values) * n // SEGMENTS : len(values) * (n + 1) // SEGMENTS] for n in range(SEGMENTS)]
    heights = [median(part) for part in cut if part]
    times = [minutes * (n + 0.5) / len(heights) for n in range(len(heights))]
    middle = fmean(times)
    mean = fmean(heights)
    width = sum((t - middle) ** 2 for t in times)
    slope = sum((t - middle) * (h - mean) for t, h in zip(times, heights, strict=True)) / width
    left = sum((h - mean - slope * (t - middle)) ** 2 for t, h in zip(times, heights, strict=True))
    return slope, STUDENT_95 * (left / max(1, len(heights) - 2) / width) ** 0.5
