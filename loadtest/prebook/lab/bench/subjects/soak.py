"""Whether memory stays flat under steady load: all plans at 0.8 of their common knee, for minutes.

Every 5 s the resident memory of each process that it shares with nobody: the database's shared buffers fill up by and
by, which is no leak.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from prebook.devstack.errors import Trouble
from prebook.lab.bench.options import WISHES
from prebook.lab.bench.ride_load import Offered, Riders
from prebook.lab.bench.rows import Row, Spread, tidy
from prebook.lab.bench.subjects.ride_figures import Figures, knee
from prebook.lab.bench.suite import standing
from prebook.lab.bench.testbed import Ground
from prebook.lab.process_tree import own_bytes

SHARE, LOOK_EVERY_S = 0.8, 5.0
WARM = 0.2
"""Share of the time that is left out: pools and caches fill."""
PARTS, STUDENT_95 = 10, 2.306
"""The rest is cut in ten, and a line laid through their medians: eight degrees of freedom."""
MB = 1e6
BOUND = 0.002
"""Of its memory a minute: what can be shown to grow less than that (an eighth in an hour) is flat."""
Samples = Mapping[str, Sequence[float]]
"""Part -> bytes, one for each look."""


async def measured(ground: Ground, _rounds: int) -> list[Row]:
    wishes = WISHES.get()
    async with standing(ground.folder / "soak") as suite:
        riders, found = Riders(suite, "soak"), Figures()
        await knee(riders, wishes.plans, found)
        if not found.knee_per_s:
            raise Trouble(f"no rate that it keeps up with: {found.limit}", "run it when the machine does nothing else")
        rate = SHARE * found.knee_per_s
        offered, samples = await _soaked(riders, wishes.plans, rate, wishes.minutes)
    told = f"{rate:.1f} rides/s for {wishes.minutes:g} min, {offered.settled} of {offered.rides} settled"
    return [_row(name, values, wishes.minutes, told) for name, values in samples.items()]


async def _soaked(riders: Riders, plans: Sequence[str], rate: float, minutes: float) -> tuple[Offered, Samples]:
    samples: dict[str, list[float]] = defaultdict(list)
    looking = asyncio.create_task(_looked_at(await riders.suite.pids(), samples))
    try:
        offered = await riders.offer(plans, rate, round(rate * 60 * minutes))
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    return offered, samples


async def _looked_at(pids: Mapping[str, int], samples: dict[str, list[float]]) -> None:
    while True:
        for name, value in (await asyncio.to_thread(own_bytes, pids)).items():
            samples[name].append(value)
        await asyncio.sleep(LOOK_EVERY_S)


def _row(name: str, values: Sequence[float], minutes: float, told: str) -> Row:
    settled = values[round(len(values) * WARM) :]
    slope, reach = sloping(settled, minutes * (1 - WARM))
    flat = slope - reach <= 0 or slope + reach < BOUND * fmean(settled)
    judged = "flat" if flat else "grows"
    return Row(
        name=f"soak: own memory of {name}",
        ours=tidy(slope / MB),
        peer=None,
        peer_name="",
        unit="MB/min",
        ratio=None,
        goal=f"flat, or < {BOUND:.1%} a minute",
        met=flat,
        note=f"{judged}: {slope / MB:+.3f} +- {reach / MB:.3f} MB/min (95 %), {settled[0] / MB:.0f} to "
        f"{settled[-1] / MB:.0f} MB; {told}",
        spread={
            "ours": Spread(median=tidy(median(settled) / MB), low=tidy(min(settled) / MB), high=tidy(max(settled) / MB))
        },
    )


def sloping(values: Sequence[float], minutes: float) -> tuple[float, float]:
    """Growth for each minute and half the width of its 95 % interval, by least squares through the parts' medians."""
    cut = [values[len(values) * n // PARTS : len(values) * (n + 1) // PARTS] for n in range(PARTS)]
    heights = [median(part) for part in cut if part]
    times = [minutes * (n + 0.5) / len(heights) for n in range(len(heights))]
    middle, mean = fmean(times), fmean(heights)
    width = sum((t - middle) ** 2 for t in times)
    slope = sum((t - middle) * (h - mean) for t, h in zip(times, heights, strict=True)) / width
    left = sum((h - mean - slope * (t - middle)) ** 2 for t, h in zip(times, heights, strict=True))
    return slope, STUDENT_95 * (left / max(1, len(heights) - 2) / width) ** 0.5
