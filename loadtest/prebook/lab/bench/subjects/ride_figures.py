"""Figures of one suite by plan: cost of a ride, and the highest rate of settled rides (the knee)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from prebook.devstack.errors import UserError
from prebook.lab.bench.ride_load import RideLoad, RideLoadResult
from prebook.lab.bench.subjects.ride_counts import count_per_ride
from prebook.lab.process_tree import read_cpu_ms

STEADY_PER_S = 15.0
"""Rate at which the cost is measured; every plan sustains it, so that no backlog distorts the cost."""
STEADY_RIDES = 45
BUSY_PER_S = 30.0
"""Higher rate at which the cost is measured as well: from both follows what a process costs without rides."""
BUSY_RIDES = 90
COUNTED_RIDES = 60
MAX_P95_MS = 1000.0
"""Maximum p95 of the time to outcome at a sustained rate."""
RATE_FACTOR = 1.25
"""Ratio of the rates of consecutive steps."""
STEP_DURATION_S = 4.0
START_PER_S = 20.0
MIN_PER_S = 2.0
MAX_PER_S = 500.0


@dataclass
class RideFigures:
    """Figures of one plan; lists have one value per round."""

    cpu_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """CPU time per ride of each process at STEADY_PER_S."""
    busy_cpu_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """The same at BUSY_PER_S; empty if it was not measured."""
    counts: Mapping[str, float] = field(default_factory=dict)
    """Resources per ride, as counted by ``ride_counts``."""
    knee_per_s: float = 0.0
    """Rides settled per second at the highest rate without refusals and with a p95 of at most MAX_P95_MS."""
    knee_p95_ms: float = 0.0
    """p95 of the time to outcome at that rate."""
    knee_limit: str = ""
    """Rate of the failed step, and why it failed."""

    @property
    def cost_ms(self) -> Sequence[float]:
        """CPU time per ride of all processes together, per round."""
        return [sum(per_process) for per_process in zip(*self.cpu_ms.values(), strict=True)]


async def measure_cost(load: RideLoad, plan: str, figures: RideFigures) -> None:
    """Measure one round of the CPU time per ride at STEADY_PER_S and at BUSY_PER_S; append it to ``figures``.

    The busy cost is left out if the suite does not sustain that rate.

    Raises:
        UserError: The suite did not settle all rides at STEADY_PER_S, or its processes are not local.
    """
    _append(figures.cpu_ms, await measure_cpu(load, plan, STEADY_PER_S, STEADY_RIDES))
    with suppress(UserError):
        _append(figures.busy_cpu_ms, await measure_cpu(load, plan, BUSY_PER_S, BUSY_RIDES))


async def measure_cpu(load: RideLoad, plan: str, rate_per_s: float, rides: int) -> dict[str, float]:
    """Return the CPU time in ms per ride of each process while rides come at a rate.

    Raises:
        UserError: The suite did not settle all rides, or its processes are not local. A ride that was refused costs
            next to nothing.
    """
    pids = await load.suite.read_pids()
    before = read_cpu_ms(pids)
    result = await load.offer(plan, rate_per_s, rides)
    after = read_cpu_ms(pids)
    if unsettled := _unsettled(result):
        raise UserError(f"{plan} at {rate_per_s:g}/s: {unsettled}", "run it on an idle machine")
    return {name: (after[name] - before[name]) / result.rides for name in pids}


def _append(values: Mapping[str, list[float]], costs_ms: Mapping[str, float]) -> None:
    for name, cost_ms in costs_ms.items():
        values[name].append(cost_ms)


async def measure_counts(load: RideLoad, plan: str, figures: RideFigures) -> None:
    """Count messages, statements and bytes per ride; store them in ``figures``."""
    figures.counts = await count_per_ride(load, plan, STEADY_PER_S, COUNTED_RIDES)


async def measure_knee(load: RideLoad, plan: str | Sequence[str], figures: RideFigures) -> None:
    """Find the knee with steps of rising rate, or falling rate if the first one is too high; store it in ``figures``.

    A failed step is repeated once, since another process may have had the processor.
    """
    rate = START_PER_S
    while MIN_PER_S < rate < MAX_PER_S:
        try:
            result = await run_step(load, plan, rate)
        except UserError as error:
            figures.knee_limit = f"at {rate:.0f}/s {error.problem}"
            return
        reason = overload_reason(result)
        if reason:
            figures.knee_limit = f"at {rate:.0f}/s {reason}"
        else:
            figures.knee_per_s = result.settled_per_s
            figures.knee_p95_ms = result.percentile(95)
        if figures.knee_limit and figures.knee_per_s:
            return
        rate = rate / RATE_FACTOR if reason else rate * RATE_FACTOR


async def run_step(load: RideLoad, plan: str | Sequence[str], rate: float) -> RideLoadResult:
    """Offer rides at a rate for STEP_DURATION_S; repeat a step that exceeds the knee once.

    Raises:
        UserError: The suite did not settle all rides.
    """
    first = await load.offer(plan, rate, round(rate * STEP_DURATION_S))
    return await load.offer(plan, rate, round(rate * STEP_DURATION_S)) if overload_reason(first) else first


def overload_reason(result: RideLoadResult) -> str:
    """Return why a step exceeds the knee, or an empty text."""
    if unsettled := _unsettled(result):
        return unsettled
    p95 = result.percentile(95)
    return f"the p95 of the outcome was {p95:.0f} ms" if p95 > MAX_P95_MS else ""


def _unsettled(result: RideLoadResult) -> str:
    if not (result.refused or result.failed):
        return ""
    return f"{result.refused} of {result.rides} rides were refused and {result.failed} failed"
