"""Price of each optional pattern: a ride while the pattern is in use, compared with the same ride without it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prebook.contracts.plan import Coupling
from prebook.devstack.command_line import log_to_stderr
from prebook.lab.bench.ride_load import RideLoad
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row
from prebook.lab.bench.subjects.ride_figures import STEADY_PER_S, RideFigures, measure_cost, measure_counts
from prebook.lab.bench.suite import start_suite
from prebook.lab.bench.testbed import BenchTestbed
from prebook.runtime import paths

PLAN = Coupling.REQUEST_REPLY.value
"""Plan of all rides: the default of every flow."""
WITHOUT = "a ride without any of these patterns"
PLAIN_ENVIRONMENT = {"PREBOOK_MESSAGE_HISTORY": "off", "PREBOOK_FARE_ENRICHMENT": "off"}
WARMUP_RIDES = 20
MIN_CHANGE = 0.01
"""Least relative change of a count that a row names."""


@dataclass(frozen=True)
class PatternInUse:
    """Settings that put a pattern to use.

    ``goal``: maximum price, as the ratio of CPU times. ``tables``: text that is added to ``couplings.toml``.
    """

    name: str
    goal: float
    environment: Mapping[str, str] = field(default_factory=dict)
    tables: str = ""


NOTHING = PatternInUse("none of them", 1.05)
"""Both sides are the same: how far its ratio is from 1 is the least price that the others can show."""
PATTERNS = (
    NOTHING,
    PatternInUse("message history", 1.05, {"PREBOOK_MESSAGE_HISTORY": "on"}),
    PatternInUse("content enricher", 1.25, {"PREBOOK_FARE_ENRICHMENT": "wait"}),
    PatternInUse(
        "content-based router",
        1.10,
        tables='[desks.large]\nvehicle_classes = ["xl"]\n[desks.other]\nvehicle_classes = ["standard", "comfort"]\n',
    ),
    PatternInUse("message filter", 1.10, tables="[extraordinary_rides]\nmin_fare_cents = 5000\n"),
)


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure each pattern on a suite of its own, alternating with a suite of the same age that uses none of them.

    Raises:
        UserError: A suite did not start, or did not settle its rides.
    """
    return [await _measure_pattern(pattern, testbed.folder, rounds) for pattern in PATTERNS]


async def _measure_pattern(pattern: PatternInUse, folder: Path, rounds: int) -> BenchRow:
    log_to_stderr(f"patterns: {pattern.name}")
    home = folder / pattern.name.replace(" ", "-")
    async with (
        start_suite(home / "plain", env=PLAIN_ENVIRONMENT) as plain_suite,
        start_suite(home / "pattern", env=_environment(pattern, folder)) as suite,
    ):
        load, plain = RideLoad(suite, "pattern"), RideLoad(plain_suite, "plain")
        ours, without = RideFigures(), RideFigures()
        sides = ((load, ours), (plain, without))
        for side, _ in sides:
            await side.offer(PLAN, STEADY_PER_S, WARMUP_RIDES)
        for number in range(rounds):
            for side, figures in sides if number % 2 else reversed(sides):
                await measure_cost(side, PLAN, figures)
        for side, figures in sides:
            await measure_counts(side, PLAN, figures)
    return bench_row(_benchmark(pattern, ours, without), ours.cost_ms, without.cost_ms)


def _environment(pattern: PatternInUse, folder: Path) -> Mapping[str, str]:
    """Return the environment of the suite; write its ``couplings.toml`` if the pattern has tables there."""
    environment = {**PLAIN_ENVIRONMENT, **pattern.environment}
    if not pattern.tables:
        return environment
    couplings = folder / f"{pattern.name.replace(' ', '-')}.toml"
    couplings.write_text(f"{paths.couplings_file().read_text()}\n{pattern.tables}")
    return {**environment, "PREBOOK_COUPLINGS": str(couplings)}


def _benchmark(pattern: PatternInUse, ours: RideFigures, without: RideFigures) -> Benchmark:
    name = f"price of a pattern: {pattern.name}"
    note = changed_counts(ours.counts, without.counts) or "no more messages, bytes, statements or calls"
    return Benchmark(name, "ms/ride", Better.LOWER, WITHOUT, pattern.goal, note)


def changed_counts(ours: Mapping[str, float], without: Mapping[str, float]) -> str:
    """Return what a ride uses more or less of, such as ``broker messages +1, AMQP bytes +640``."""
    return ", ".join(
        f"{name} {ours[name] - value:+,.3g}"
        for name, value in without.items()
        if abs(ours[name] - value) > MIN_CHANGE * max(value, 1.0)
    )
