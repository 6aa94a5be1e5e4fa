"""Whole suite by plan: rides settled per second at the knee, and the cost of a ride.

The baseline is an earlier version of the suite: its stored figures or, measured alternately, a checkout of it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from prebook.lab.bench.options import OPTIONS, BenchOptions
from prebook.lab.bench.ride_load import RideLoad
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row, unmeasured_row
from prebook.lab.bench.subjects.ride_baseline import baseline_of, figures_of, read_baseline, write_baseline
from prebook.lab.bench.subjects.ride_figures import (
    MAX_P95_MS,
    STEADY_PER_S,
    RideFigures,
    measure_cost,
    measure_counts,
    measure_knee,
)
from prebook.lab.bench.suite import start_suite
from prebook.lab.bench.testbed import BenchTestbed

BASELINE_FILE = Path(__file__).parents[5] / "docs" / "results" / "ride-baseline.json"
OURS = "ours"
BASELINE_SIDE = "baseline"
WARMUP_PER_S = 10.0
WARMUP_RIDES = 20
COST_GOAL = 0.5
KNEE_GOAL = 2.0
COUNT_NOTES = {
    "broker messages": "one for each request, reply and event of the flows",
    "AMQP bytes": "the same messages and headers as in the baseline",
    "HTTP requests": "one for each request of the flows",
    "WAL bytes": "inbox, outbox and state store as much of each message as in the baseline",
    "statements": "each handler records the message, acts and enqueues; the relay claims and marks",
}
"""Lower bound of each count, which explains a missed goal."""
Sides = Mapping[str, RideLoad]
"""Load of each side."""
SideFigures = dict[str, dict[str, RideFigures]]
"""Figures by side and plan."""


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure cost, counts and knee of each plan; store the figures if ``save_baseline`` is set.

    Raises:
        UserError: A suite did not start, or did not settle its rides.
    """
    options = OPTIONS.get()
    async with _start_sides(testbed, options) as sides:
        figures = {side: {plan: RideFigures() for plan in options.plans} for side in sides}
        await _warm_up(sides, options.plans)
        await _run_rounds(sides, figures, options.plans, rounds)
        versions = {side: _versions(load) for side, load in sides.items()}
    if options.save_baseline:
        side = BASELINE_SIDE if BASELINE_SIDE in figures else OURS
        write_baseline(options.save_baseline, baseline_of(figures[side], versions[side]))
    if BASELINE_SIDE in figures:
        return _rows(figures[OURS], figures[BASELINE_SIDE], f"checkout {options.baseline_checkout}, alternating")
    return _compare_with_file(figures[OURS], rounds)


@asynccontextmanager
async def _start_sides(testbed: BenchTestbed, options: BenchOptions) -> AsyncIterator[Sides]:
    checkouts = {OURS: None} | ({BASELINE_SIDE: options.baseline_checkout} if options.baseline_checkout else {})
    async with AsyncExitStack() as stack:
        sides: dict[str, RideLoad] = {}
        for side, checkout in checkouts.items():
            suite = await stack.enter_async_context(start_suite(testbed.folder / side, checkout=checkout))
            sides[side] = RideLoad(suite, f"ride{side}")
        yield sides


async def _warm_up(sides: Sides, plans: Sequence[str]) -> None:
    for load in sides.values():
        for plan in plans:
            await load.offer(plan, WARMUP_PER_S, WARMUP_RIDES)


async def _run_rounds(sides: Sides, figures: SideFigures, plans: Sequence[str], rounds: int) -> None:
    """Measure both sides alternately; the knee comes last, since its overload leaves the fullest tables."""
    for number in range(rounds):
        for plan in plans:
            for side in list(sides) if number % 2 else reversed(list(sides)):
                await measure_cost(sides[side], plan, figures[side][plan])
    for measure in (measure_counts, measure_knee):
        for plan in plans:
            for side in sides:
                await measure(sides[side], plan, figures[side][plan])


def _compare_with_file(ours: Mapping[str, RideFigures], rounds: int) -> list[BenchRow]:
    try:
        baseline = read_baseline(BASELINE_FILE)
    except OSError:
        return [
            unmeasured_row(_cost_benchmark(plan, "-", ""), f"no {BASELINE_FILE.name} to compare with") for plan in ours
        ]
    stored = {plan: figures_of(figures, rounds) for plan, figures in baseline.plans.items() if plan in ours}
    return _rows(ours, stored, f"first measurement, {baseline.measured_on}")


def _rows(ours: Mapping[str, RideFigures], baseline: Mapping[str, RideFigures], name: str) -> list[BenchRow]:
    return [row for plan in baseline for row in _plan_rows(plan, ours[plan], baseline[plan], name)]


def _plan_rows(plan: str, ours: RideFigures, baseline: RideFigures, name: str) -> list[BenchRow]:
    rows = [
        bench_row(_cost_benchmark(plan, name, _cpu_breakdown(ours)), ours.cost_ms, baseline.cost_ms),
        _known_row(_knee_benchmark(plan, name, ours.knee_limit), ours.knee_per_s, baseline.knee_per_s),
    ]
    for count in sorted(set(ours.counts) & {count for count, value in baseline.counts.items() if value}):
        benchmark = Benchmark(
            f"ride, {plan}: {count}", "per ride", Better.LOWER, name, COST_GOAL, COUNT_NOTES.get(count, "")
        )
        rows.append(bench_row(benchmark, [ours.counts[count]], [baseline.counts[count]]))
    return rows


def _known_row(benchmark: Benchmark, ours: float, baseline: float) -> BenchRow:
    return (
        bench_row(benchmark, [ours], [baseline])
        if ours and baseline
        else unmeasured_row(
            benchmark, f"no knee found (ours {ours:g}/s, baseline {baseline:g}/s); run it on an idle machine"
        )
    )


def _cost_benchmark(plan: str, name: str, note: str) -> Benchmark:
    return Benchmark(f"ride, {plan}: CPU time, {STEADY_PER_S:g}/s", "ms/ride", Better.LOWER, name, COST_GOAL, note)


def _knee_benchmark(plan: str, name: str, limit: str) -> Benchmark:
    note = f"p95 of the outcome <= {MAX_P95_MS:g} ms, nothing refused; {limit}"
    return Benchmark(f"ride, {plan}: settled at the knee", "rides/s", Better.HIGHER, name, KNEE_GOAL, note)


def _cpu_breakdown(figures: RideFigures) -> str:
    medians = sorted(((median(values), name) for name, values in figures.cpu_ms.items()), reverse=True)
    return ", ".join(f"{name} {value:.1f}" for value, name in medians)


def _versions(load: RideLoad) -> str:
    state = load.suite.state
    return f"{state.broker}, {state.database}"
