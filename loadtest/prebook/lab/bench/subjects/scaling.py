"""Scaling with one, two and four replicas per service: rate of a burst, and the effect of killing a replica.

Throughput grows only while CPU time is free; each row states the share of cores in use. Numbers of replicas are
measured one after the other, not interleaved: three suites at a time would disturb each other more than the machine
drifts.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import aiohttp
import asyncpg

from prebook.contracts.notification import Notice
from prebook.contracts.plan import Coupling
from prebook.lab.bench.ride_load import RideLoad
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row
from prebook.lab.bench.suite import BenchSuite, start_suite
from prebook.lab.bench.testbed import BenchTestbed
from prebook.lab.process_tree import read_cpu_ms
from prebook.postgres.dsn import asyncpg_dsn

REPLICAS = (1, 2, 4)
GOAL = 0.9
PLANS = (Coupling.ONE_WAY.value, Coupling.REQUEST_REPLY.value)
"""Plans whose messages reach all replicas; an HTTP call reaches the first replica only."""
BURST = 160
"""Rides of a burst."""
BURST_PER_S = 100.0
KILL_AFTER_S = 1.5
BACK_PRESSURE_OFF = {"PREBOOK_BACK_PRESSURE": "off"}
"""Settings of the suite: the benchmark measures how fast a burst is processed, so that no ride may be refused."""
CANCEL_INTERVAL_S = 0.2
QUIET_S = 8.0
"""Time without a cancellable booking after which no further one is expected."""
VICTIMS = ("matching", "notification")
"""Services of which a replica is killed."""
NOTICE_ORDER = [notice.value for notice in Notice]
"""Order in which a rider gets the notices of a ride."""
SELECT_CANCELLABLE = """
    SELECT id FROM booking.booking
    WHERE key >= $1 AND starts_with(key, $1) AND state = 'confirmed' AND notified_at IS NOT NULL"""
# State of each ride, and the notices delivered to its rider in the order of delivery.
SELECT_NOTICES = """
    SELECT b.state, array_agg(d.notice ORDER BY d.delivered_at) FILTER (WHERE d.notice IS NOT NULL) AS notices
    FROM booking.booking AS b LEFT JOIN notification.delivery AS d ON d.booking_id = b.id
    WHERE b.key >= $1 AND starts_with(b.key, $1) GROUP BY b.id, b.state"""


@dataclass
class ScalingFigures:
    """Figures with one number of replicas; lists have one value per round."""

    settled_per_s: list[float] = field(default_factory=list)
    """Rides settled per second."""
    cores: list[float] = field(default_factory=list)
    """Cores in use by the suite, on average."""
    violations: int = 0
    """Lost, duplicated and misordered rides and notices of the burst with kills."""
    summary: str = ""
    """The same in words."""


@dataclass(frozen=True)
class KillVerdict:
    """Effect of killed replicas on the rides of a burst."""

    rides: int
    """Accepted rides."""
    lost: int
    """Rides without an entry, or without the notice of their last state."""
    duplicated: int
    """Notices delivered more than once."""
    misordered: int
    """Rides whose notices were delivered out of order."""

    @property
    def violations(self) -> int:
        """Sum of lost, duplicated and misordered."""
        return self.lost + self.duplicated + self.misordered

    def summary(self, killed: Sequence[str]) -> str:
        """Return the verdict in words. ``killed``: names of the killed processes."""
        return (
            f"{', '.join(killed)} killed in a burst of {self.rides} rides with two notices each: {self.lost} lost, "
            f"{self.duplicated} duplicated, {self.misordered} out of order"
        )


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure bursts with each number of replicas, and one burst with kills."""
    figures_by_replicas = {replicas: ScalingFigures() for replicas in REPLICAS}
    for replicas, figures in figures_by_replicas.items():
        async with start_suite(
            testbed.folder / f"scaling{replicas}", replicas=replicas, env=BACK_PRESSURE_OFF
        ) as suite:
            load = RideLoad(suite, f"scale{replicas}")
            for number in range(rounds + 1):
                await _run_burst(load, figures if number else ScalingFigures())
            await _run_burst_with_kills(load, replicas, figures)
    single = figures_by_replicas[1]
    rows = []
    for replicas, figures in figures_by_replicas.items():
        if replicas > 1:
            rows.append(_throughput_row(replicas, figures, single))
        rows.append(_violations_row(replicas, figures))
    return rows


async def _run_burst(load: RideLoad, figures: ScalingFigures) -> None:
    pids = await load.suite.read_pids()
    started = time.perf_counter()
    before = read_cpu_ms(pids)
    result = await load.offer(PLANS, BURST_PER_S, BURST)
    took_s = time.perf_counter() - started
    after = read_cpu_ms(pids)
    figures.settled_per_s.append(result.settled_per_s)
    figures.cores.append(sum(after[name] - before[name] for name in pids) / 1e3 / took_s)


async def _run_burst_with_kills(load: RideLoad, replicas: int, figures: ScalingFigures) -> None:
    """Kill replicas during a burst in which every confirmed ride is cancelled, so that it has two ordered notices."""
    victims = [f"{name}-{replicas}" if replicas > 1 else name for name in VICTIMS]
    suite = load.suite
    run = load.next_run()
    burst = asyncio.create_task(load.offer(PLANS, BURST_PER_S, BURST, run))
    cancelling = asyncio.create_task(_cancel_confirmed(suite, run))
    await asyncio.sleep(KILL_AFTER_S)
    for name in victims:
        await suite.kill(name)
    refused = (await burst).refused
    await cancelling
    await load.wait_until_at_rest(run)
    verdict = judge(await suite.database.fetch(SELECT_NOTICES, f"{run}-"), BURST - refused)
    figures.violations = verdict.violations
    figures.summary = verdict.summary(victims)


async def _cancel_confirmed(suite: BenchSuite, run: str) -> None:
    """Cancel every confirmed booking once its rider is notified; return after QUIET_S without such a booking."""
    database = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    last = time.monotonic()
    while time.monotonic() - last < QUIET_S:
        await asyncio.sleep(CANCEL_INTERVAL_S)
        for booking in await database.fetch(SELECT_CANCELLABLE, f"{run}-"):
            last = time.monotonic()
            await _cancel(suite, booking["id"])
    await database.close()


async def _cancel(suite: BenchSuite, booking_id: str) -> None:
    """Try to cancel a booking; one that is in transition, or whose service is down, is tried again later."""
    url = f"{suite.state.urls['booking']}/v1/bookings/{booking_id}"
    with contextlib.suppress(aiohttp.ClientError):
        async with suite.session.delete(url):
            pass


def judge(notices: Sequence[Any], rides: int) -> KillVerdict:
    """Return the verdict on ``rides`` accepted rides. ``notices``: rows of SELECT_NOTICES of their bookings.

    A ride is complete if its rider was notified of its last state.
    """
    delivered = [list(row["notices"] or ()) for row in notices]
    complete = sum(row["state"] in names for row, names in zip(notices, delivered, strict=True))
    return KillVerdict(
        rides=rides,
        lost=rides - complete,
        duplicated=sum(len(names) - len(set(names)) for names in delivered),
        misordered=sum(names != sorted(names, key=NOTICE_ORDER.index) for names in delivered),
    )


def _throughput_row(replicas: int, figures: ScalingFigures, single: ScalingFigures) -> BenchRow:
    note = f"{median(figures.cores):.2f} of {os.cpu_count()} cores in use, {median(single.cores):.2f} with one replica"
    benchmark = Benchmark(
        f"scaling: a burst with {replicas} replicas", "settled/s", Better.HIGHER, "one replica", GOAL, note
    )
    return bench_row(benchmark, figures.settled_per_s, single.settled_per_s)


def _violations_row(replicas: int, figures: ScalingFigures) -> BenchRow:
    return BenchRow(
        name=f"scaling: replicas killed in a burst, {replicas} per service",
        ours=figures.violations,
        baseline=None,
        baseline_name="",
        unit="violations",
        ratio=None,
        goal="0",
        met=figures.violations == 0,
        note=figures.summary,
    )
