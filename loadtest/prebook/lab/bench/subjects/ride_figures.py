"""The figures of one suite, plan by plan: what a ride costs, and the highest rate that it keeps up with."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prebook.devstack.errors import UserError
from prebook.lab.bench.ride_load import RideLoad, RideLoadResult
from prebook.lab.bench.subjects.ride_counts import count_per_ride
from prebook.lab.process_tree import read_cpu_ms

STEADY_PER_S = 15.0
STEADY_RIDES = 45
"""What the cost is taken at: a rate that every plan keeps up with, so that nothing but the rides differs."""
COUNTED_RIDES = 60
MAX_P95_MS = 1000.0
RATE_FACTOR = 1.25
STEP_DURATION_S = 4.0
START_PER_S = 20.0
MIN_PER_S = 2.0
MAX_PER_S = 500.0


@dataclass
class RideFigures:
    """Of one plan; a list has one value for each round."""

    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Processor time of one ride by process."""
    counts: Mapping[str, float] = field(default_factory=dict)
    knee_per_s: float = 0.0
    """Rides settled each second at the highest rate at which nothing was refused and the p95 was within its bound."""
    knee_p95_ms: float = 0.0
    knee_limit: str = ""
    """What the next step met."""

    @property
    def cost_ms(self) -> Sequence[float]:
        return [sum(round_) for round_ in zip(*self.cpu_ms.values(), strict=True)]


async def measure_cost(load: RideLoad, plan: str, figures: RideFigures) -> None:
    """One round."""
    pids = await load.suite.read_pids()
    before = read_cpu_ms(pids)
    offered = await load.offer(plan, STEADY_PER_S, STEADY_RIDES)
    after = read_cpu_ms(pids)
    for name in pids:
        figures.cpu_ms[name].append((after[name] - before[name]) / offered.rides)


async def measure_counts(load: RideLoad, plan: str, figures: RideFigures) -> None:
    figures.counts = await count_per_ride(load, plan, STEADY_PER_S, COUNTED_RIDES)


async def measure_knee(load: RideLoad, plan: str | Sequence[str], figures: RideFigures) -> None:
    """Steps of rising rate, and of falling where the first is too high already.

    A step that fails is tried once more, since something else may have had the processor.
    """
    rate = START_PER_S
    while MIN_PER_S < rate < MAX_PER_S:
        try:
            offered = await _run_step(load, plan, rate)
        except UserError as never:
            figures.knee_limit = f"at {rate:.0f}/s {never.problem}"
            return
        trouble = overload_reason(offered)
        if trouble:
            figures.knee_limit = f"at {rate:.0f}/s {trouble}"
        else:
            figures.knee_per_s = offered.settled_per_s
            figures.knee_p95_ms = offered.percentile(95)
        if figures.knee_limit and figures.knee_per_s:
            return
        rate = rate / RATE_FACTOR if trouble else rate * RATE_FACTOR


async def _run_step(load: RideLoad, plan: str | Sequence[str], rate: float) -> RideLoadResult:
    first = await load.offer(plan, rate, round(rate * STEP_DURATION_S))
    return await load.offer(plan, rate, round(rate * STEP_DURATION_S)) if overload_reason(first) else first


def overload_reason(result: RideLoadResult) -> str:
    """What is wrong with a step, or nothing."""
    if result.refused or result.failed:
        return f"{result.refused} were refused and {result.failed} failed of {result.rides}"
    p95 = result.percentile(95)
    return f"the p95 of the outcome was {p95:.0f} ms" if p95 > MAX_P95_MS else ""
