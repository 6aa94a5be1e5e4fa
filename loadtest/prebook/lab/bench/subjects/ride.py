"""The whole suite on this machine: settled rides each second at the knee, and what one ride costs, plan by plan.

Beside it stands the suite as it was at first: its kept figures or, in turns with ours, a checkout of it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median

from prebook.lab.bench.options import WISHES, Wishes
from prebook.lab.bench.ride_load import Riders
from prebook.lab.bench.rows import Better, Measure, Row, row, unmeasured
from prebook.lab.bench.subjects.ride_baseline import figures, kept, read, write
from prebook.lab.bench.subjects.ride_figures import EVEN_PER_S, P95_MS, Figures, count, knee, spend
from prebook.lab.bench.suite import standing
from prebook.lab.bench.testbed import Ground

BASELINE = Path(__file__).parents[3] / "deploy" / "results" / "ride-baseline.json"
OURS, PEER = "ours", "peer"
WARM_PER_S, WARM_RIDES = 10.0, 20
COST, MORE = 0.5, 2.0
LIMITS = {
    "broker messages": "as many as the flows have questions, answers and facts",
    "AMQP bytes": "as many messages as before, with the same headers",
    "HTTP requests": "as many as the flows have questions",
    "WAL bytes": "inbox, outbox and state keep as much of each message as before",
    "statements": "each step admits, acts and leaves something behind; the relay claims and marks",
}
"""What keeps a count where it is."""
Sides = Mapping[str, Riders]
Found = dict[str, dict[str, Figures]]
"""Side -> plan -> figures."""


async def measured(ground: Ground, rounds: int) -> list[Row]:
    wishes = WISHES.get()
    async with _sides(ground, wishes) as sides:
        found = {side: {plan: Figures() for plan in wishes.plans} for side in sides}
        await _warm(sides, wishes.plans)
        await _played(sides, found, wishes.plans, rounds)
        versions = {side: _versions(riders) for side, riders in sides.items()}
    if wishes.keep:
        side = PEER if PEER in found else OURS
        write(wishes.keep, kept(found[side], versions[side]))
    if PEER in found:
        return _rows(found[OURS], found[PEER], f"checkout {wishes.beside}, in turns")
    return _beside_kept(found[OURS], rounds)


@asynccontextmanager
async def _sides(ground: Ground, wishes: Wishes) -> AsyncIterator[Sides]:
    wanted = {OURS: None} | ({PEER: wishes.beside} if wishes.beside else {})
    async with AsyncExitStack() as stack:
        sides: dict[str, Riders] = {}
        for side, checkout in wanted.items():
            suite = await stack.enter_async_context(standing(ground.folder / side, checkout=checkout))
            sides[side] = Riders(suite, f"ride{side}")
        yield sides


async def _warm(sides: Sides, plans: Sequence[str]) -> None:
    for riders in sides.values():
        for plan in plans:
            await riders.offer(plan, WARM_PER_S, WARM_RIDES)


async def _played(sides: Sides, found: Found, plans: Sequence[str], rounds: int) -> None:
    """Both sides in turns; the knee comes last, for it leaves the most behind."""
    for number in range(rounds):
        for plan in plans:
            for side in list(sides) if number % 2 else reversed(list(sides)):
                await spend(sides[side], plan, found[side][plan])
    for measure in (count, knee):
        for plan in plans:
            for side in sides:
                await measure(sides[side], plan, found[side][plan])


def _beside_kept(ours: Mapping[str, Figures], rounds: int) -> list[Row]:
    try:
        baseline = read(BASELINE)
    except OSError:
        return [unmeasured(_cost(plan, "-", ""), f"no {BASELINE.name} to compare with") for plan in ours]
    peer = {plan: figures(one, rounds) for plan, one in baseline.plans.items() if plan in ours}
    return _rows(ours, peer, f"first measurement, {baseline.measured}")


def _rows(ours: Mapping[str, Figures], peer: Mapping[str, Figures], name: str) -> list[Row]:
    return [each for plan in peer for each in _of_plan(plan, ours[plan], peer[plan], name)]


def _of_plan(plan: str, ours: Figures, peer: Figures, name: str) -> list[Row]:
    rows = [
        row(_cost(plan, name, _told(ours)), ours.cost_ms, peer.cost_ms),
        _known(_knee(plan, name, ours.limit), ours.knee_per_s, peer.knee_per_s),
    ]
    for what in sorted(set(ours.counts) & {each for each, value in peer.counts.items() if value}):
        measure = Measure(f"ride, {plan}: {what}", "for one ride", Better.LOWER, name, COST, LIMITS.get(what, ""))
        rows.append(row(measure, [ours.counts[what]], [peer.counts[what]]))
    return rows


def _known(measure: Measure, ours: float, peer: float) -> Row:
    return (
        row(measure, [ours], [peer]) if ours and peer else unmeasured(measure, f"{ours} and {peer}: too busy a machine")
    )


def _cost(plan: str, name: str, told: str) -> Measure:
    return Measure(f"ride, {plan}: processor time, {EVEN_PER_S:g}/s", "ms a ride", Better.LOWER, name, COST, told)


def _knee(plan: str, name: str, limit: str) -> Measure:
    said = f"p95 of the outcome <= {P95_MS:g} ms, nothing refused; {limit}"
    return Measure(f"ride, {plan}: settled at the knee", "rides/s", Better.HIGHER, name, MORE, said)


def _told(figures: Figures) -> str:
    spent = sorted(((median(values), name) for name, values in figures.spent_ms.items()), reverse=True)
    return ", ".join(f"{name} {value:.1f}" for value, name in spent)


def _versions(riders: Riders) -> str:
    where = riders.suite.where
    return f"{where.broker}, {where.database}"
