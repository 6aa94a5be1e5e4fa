"""Soak: memory of all processes under steady load, all plans at 0.8 of their common knee, for minutes.

Anonymous resident memory of each process is read every 5 s. Shared memory is excluded: the database's shared buffers
fill gradually, which is no leak.
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
"""Offered rate as a share of the knee."""
SAMPLE_INTERVAL_S = 5.0
WARMUP_SHARE = 0.2
"""Share of the time that is ignored, in which pools and caches fill."""
SEGMENTS = 10
"""Number of segments of the remaining time, whose medians the regression line is fitted to."""
STUDENT_95 = 2.306
"""Two-sided 95 % quantile of Student's t distribution with SEGMENTS - 2 = 8 degrees of freedom."""
MB = 1e6
MAX_GROWTH_PER_MIN = 0.002
"""Share of its memory by which a flat process may grow per minute: 12 % per hour."""
MemorySamples = Mapping[str, Sequence[float]]
"""Readings of each process in bytes."""


async def measure(testbed: BenchTestbed, _rounds: int) -> list[BenchRow]:
    """Find the knee, run at LOAD_SHARE of it and return one row per process.

    Raises:
        UserError: The suite sustains no rate.
    """
    options = OPTIONS.get()
    async with start_suite(testbed.folder / "soak") as suite:
        load = RideLoad(suite, "soak")
        figures = RideFigures()
        await measure_knee(load, options.plans, figures)
        if not figures.knee_per_s:
            raise UserError(f"the suite sustains no rate: {figures.knee_limit}", "run it on an idle machine")
        rate = LOAD_SHARE * figures.knee_per_s
        result, samples = await _run_soak(load, options.plans, rate, options.minutes)
    load_text = f"{rate:.1f} rides/s for {options.minutes:g} min, {result.settled} of {result.rides} settled"
    return [_row(name, values, options.minutes, load_text) for name, values in samples.items()]


async def _run_soak(
    load: RideLoad, plans: Sequence[str], rate: float, minutes: float
) -> tuple[RideLoadResult, MemorySamples]:
    samples: dict[str, list[float]] = defaultdict(list)
    sampling = asyncio.create_task(_sample_memory(await load.suite.read_pids(), samples))
    try:
        result = await load.offer(plans, rate, round(rate * 60 * minutes))
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    return result, samples


async def _sample_memory(pids: Mapping[str, int], samples: dict[str, list[float]]) -> None:
    while True:
        for name, value in (await asyncio.to_thread(read_private_bytes, pids)).items():
            samples[name].append(value)
        await asyncio.sleep(SAMPLE_INTERVAL_S)


def _row(name: str, values: Sequence[float], minutes: float, load_text: str) -> BenchRow:
    warm = values[round(len(values) * WARMUP_SHARE) :]
    slope, half_width = fit_slope(warm, minutes * (1 - WARMUP_SHARE))
    flat = slope - half_width <= 0 or slope + half_width < MAX_GROWTH_PER_MIN * fmean(warm)
    verdict = "flat" if flat else "grows"
    return BenchRow(
        name=f"soak: anonymous memory of {name}",
        ours=round_significant(slope / MB),
        baseline=None,
        baseline_name="",
        unit="MB/min",
        ratio=None,
        goal=f"flat, or < {MAX_GROWTH_PER_MIN:.1%} per minute",
        met=flat,
        note=f"{verdict}: {slope / MB:+.3f} +- {half_width / MB:.3f} MB/min (95 %), {warm[0] / MB:.0f} to "
        f"{warm[-1] / MB:.0f} MB; {load_text}",
        spread={
            "ours": RoundSpread(
                median=round_significant(median(warm) / MB),
                low=round_significant(min(warm) / MB),
                high=round_significant(max(warm) / MB),
            )
        },
    )


def fit_slope(values: Sequence[float], minutes: float) -> tuple[float, float]:
    """Return the growth per minute of evenly spaced ``values`` and half the width of its 95 % interval.

    Source: least-squares regression through the medians of SEGMENTS segments, with Student's t distribution.
    """
    segments = [values[len(values) * n // SEGMENTS : len(values) * (n + 1) // SEGMENTS] for n in range(SEGMENTS)]
    medians = [median(segment) for segment in segments if segment]
    times = [minutes * (n + 0.5) / len(medians) for n in range(len(medians))]
    mean_time = fmean(times)
    mean = fmean(medians)
    variation = sum((t - mean_time) ** 2 for t in times)
    slope = sum((t - mean_time) * (m - mean) for t, m in zip(times, medians, strict=True)) / variation
    residuals = sum((m - mean - slope * (t - mean_time)) ** 2 for t, m in zip(times, medians, strict=True))
    return slope, STUDENT_95 * (residuals / max(1, len(medians) - 2) / variation) ** 0.5
