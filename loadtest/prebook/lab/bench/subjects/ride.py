"""The whole suite on this machine: settled rides each second at the knee, and what one ride costs, plan by plan.

Beside it stands the suite as it was at first: its kept figures or, in turns with ours, a checkout of it.
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
    "broker messages": "as many as the flows have questions, answers and facts",
    "AMQP bytes": "as many messages as before, with the same headers",
    "HTTP requests": "as many as the flows have questions",
    "WAL bytes": "inbox, outbox and state keep as much of each message as before",
    "statements": "each step admits, acts and leaves something behind; the relay claims and marks",
}
"""What keeps a count where it is."""
Sides = Mapping[str, RideLoad]
SideFigures = dict[str, dict[str, RideFigures]]
"""Side -> plan -> figures."""


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    options = OPTIONS.get()
    async with _start_sides(testbed, options) as sides:
        found = {side: {plan: RideFigures() for plan in options.plans} for side in sides}
        await _warm_up(sides, options.plans)
        await _run_rounds(sides, found, options.plans, rounds)
        versions = {side: _versions(riders) for side, riders in sides.items()}
    if options.save_baseline:
        side = BASELINE_SIDE if BASELINE_SIDE in found else OURS
        write_baseline(options.save_baseline, baseline_of(found[side], versions[side]))
    if BASELINE_SIDE in found:
        return _rows(found[OURS], found[BASELINE_SIDE], f"checkout {options.baseline_checkout}, in turns")
    return _compare_with_file(found[OURS], rounds)


@asynccontextmanager
async def _start_sides(testbed: BenchTestbed, options: BenchOptions) -> AsyncIterator[Sides]:
    wanted = {OURS: None} | ({BASELINE_SIDE: options.baseline_checkout} if options.baseline_checkout else {})
    async with AsyncExitStack() as stack:
        sides: dict[str, RideLoad] = {}
        for side, checkout in wanted.items():
            suite = await stack.enter_async_context(start_suite(testbed.folder / side, checkout=checkout))
            sides[side] = RideLoad(suite, f"ride{side}")
        yield sides


async def _warm_up(sides: Sides, plans: Sequence[str]) -> None:
    for riders in sides.values():
        for plan in plans:
            await riders.offer(plan, WARMUP_PER_S, WARMUP_RIDES)


async def _run_rounds(sides: Sides, found: SideFigures, plans: Sequence[str], rounds: int) -> None:
    """Both sides in turns; the knee comes last, for it leaves the most behind."""
    for number in range(rounds):
        for plan in plans:
            for side in list(sides) if number % 2 else reversed(list(sides)):
                await measure_cost(sides[side], plan, found[side][plan])
    for measure in (measure_counts, measure_knee):
        for plan in plans:
            for side in sides:
                await measure(sides[side], plan, found[side][plan])


def _compare_with_file(ours: Mapping[str, RideFigures], rounds: int) -> list[BenchRow]:
    try:
        baseline = read_baseline(BASELINE_FILE)
    except OSError:
        return [
            unmeasured_row(_cost_benchmark(plan, "-", ""), f"no {BASELINE_FILE.name} to compare with") for plan in ours
        ]
    first = {plan: figures_of(one, rounds) for plan, one in baseline.plans.items() if plan in ours}
    return _rows(ours, first, f"first measurement, {baseline.measured_on}")


def _rows(ours: Mapping[str, RideFigures], baseline: Mapping[str, RideFigures], name: str) -> list[BenchRow]:
    return [each for plan in baseline for each in _plan_rows(plan, ours[plan], baseline[plan], name)]


def _plan_rows(plan: str, ours: RideFigures, baseline: RideFigures, name: str) -> list[BenchRow]:
    rows = [
        bench_row(_cost_benchmark(plan, name, _cpu_breakdown(ours)), ours.cost_ms, baseline.cost_ms),
        _known_row(_knee_benchmark(plan, name, ours.knee_limit), ours.knee_per_s, baseline.knee_per_s),
    ]
    for what in sorted(set(ours.counts) & {each for each, value in baseline.counts.items() if value}):
        measure = Benchmark(
            f"ride, {plan}: {what}", "for one ride", Better.LOWER, name, COST_GOAL, COUNT_NOTES.get(what, "")
        )
        rows.append(bench_row(measure, [ours.counts[what]], [baseline.counts[what]]))
    return rows


def _known_row(benchmark: Benchmark, ours: float, baseline: float) -> BenchRow:
    return (
        bench_row(benchmark, [ours], [baseline])
        if ours and baseline
        else unmeasured_row(benchmark, f"{ours} and {baseline}: too busy a machine")
    )


def _cost_benchmark(plan: str, name: str, note: str) -> Benchmark:
    return Benchmark(
        f"ride, {plan}: processor time, {STEADY_PER_S:g}/s", "ms a ride", Better.LOWER, name, COST_GOAL, note
    )


def _knee_benchmark(plan: str, name: str, limit: str) -> Benchmark:
    said = f"p95 of the outcome <= {MAX_P95_MS:g} ms, nothing refused; {limit}"
    return Benchmark(f"ride, {plan}: settled at the knee", "rides/s", Better.HIGHER, name, KNEE_GOAL, said)


def _cpu_breakdown(figures: RideFigures) -> str:
    spent = sorted(((median(values), name) for name, values in figures.cpu_ms.items()), reverse=True)
    return ", ".join(f"{name} {value:.1f}" for value, name in spent)


def _versions(load: RideLoad) -> str:
    where = load.suite.state
    return f"{where.broker}, {where.database}"
