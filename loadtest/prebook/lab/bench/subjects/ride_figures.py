"""The figures of one suite, plan by plan: what a ride costs, and the highest rate that it keeps up with."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prebook.devstack.errors import Trouble
from prebook.lab.bench.ride_load import Offered, Riders
from prebook.lab.bench.subjects.ride_counts import counted
from prebook.lab.process_tree import spent_ms

EVEN_PER_S, EVEN_RIDES = 15.0, 45
"""What the cost is taken at: a rate that every plan keeps up with, so that nothing but the rides differs."""
COUNTED_RIDES = 60
P95_MS, STEP, STEP_S = 1000.0, 1.25, 4.0
FIRST_PER_S, LOWEST_PER_S, MOST_PER_S = 20.0, 2.0, 500.0


@dataclass
class Figures:
    """Of one plan; a list has one value for each round."""

    spent_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Processor time of one ride by process."""
    counts: Mapping[str, float] = field(default_factory=dict)
    knee_per_s: float = 0.0
    """Rides settled each second at the highest rate at which nothing was refused and the p95 was within its bound."""
    knee_p95_ms: float = 0.0
    limit: str = ""
    """What the next step met."""

    @property
    def cost_ms(self) -> Sequence[float]:
        return [sum(round_) for round_ in zip(*self.spent_ms.values(), strict=True)]


async def spend(riders: Riders, plan: str, into: Figures) -> None:
    """One round."""
    pids = await riders.suite.pids()
    before = spent_ms(pids)
    offered = await riders.offer(plan, EVEN_PER_S, EVEN_RIDES)
    after = spent_ms(pids)
    for name in pids:
        into.spent_ms[name].append((after[name] - before[name]) / offered.rides)


async def count(riders: Riders, plan: str, into: Figures) -> None:
    into.counts = await counted(riders, plan, EVEN_PER_S, COUNTED_RIDES)


async def knee(riders: Riders, plan: str | Sequence[str], into: Figures) -> None:
    """Steps of rising rate, and of falling where the first is too high already.

    A step that fails is tried once more, since something else may have had the processor.
    """
    rate = FIRST_PER_S
    while LOWEST_PER_S < rate < MOST_PER_S:
        try:
            offered = await _step(riders, plan, rate)
        except Trouble as never:
            into.limit = f"at {rate:.0f}/s {never.problem}"
            return
        trouble = over(offered)
        if trouble:
            into.limit = f"at {rate:.0f}/s {trouble}"
        else:
            into.knee_per_s, into.knee_p95_ms = offered.settled_per_s, offered.percentile(95)
        if into.limit and into.knee_per_s:
            return
        rate = rate / STEP if trouble else rate * STEP


async def _step(riders: Riders, plan: str | Sequence[str], rate: float) -> Offered:
    first = await riders.offer(plan, rate, round(rate * STEP_S))
    return await riders.offer(plan, rate, round(rate * STEP_S)) if over(first) else first


def over(offered: Offered) -> str:
    """What is wrong with a step, or nothing."""
    if offered.refused or offered.failed:
        return f"{offered.refused} were refused and {offered.failed} failed of {offered.rides}"
    p95 = offered.percentile(95)
    return f"the p95 of the outcome was {p95:.0f} ms" if p95 > P95_MS else ""
