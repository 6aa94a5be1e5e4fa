"""One, two and four replicas of every service: how fast a burst is settled, and what it suffers when one is killed.

Throughput can only grow while the processor has room: each row says how much of it was busy. One number of replicas
after the other, not in turns: three suites at a time would disturb each other more than the machine does meanwhile.
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
"""By which further replicas are reached: a call goes to the first one."""
BURST = 160
BURST_PER_S = 100.0
KILL_AFTER_S = 1.5
BACK_PRESSURE_OFF = {"PREBOOK_BACK_PRESSURE": "off"}
"""What is measured is how fast a burst is worked off, not how much of it is turned away."""
CANCEL_INTERVAL_S = 0.2
QUIET_S = 8.0
VICTIMS = ("matching", "notification")
NOTICE_ORDER = [notice.value for notice in Notice]
SELECT_CANCELLABLE = """
    SELECT id FROM booking.booking
    WHERE key >= $1 AND starts_with(key, $1) AND state = 'confirmed' AND notified_at IS NOT NULL"""
# Of each ride: how it ended, and what its rider heard, in that order.
SELECT_NOTICES = """
    SELECT b.state, array_agg(d.notice ORDER BY d.delivered_at) FILTER (WHERE d.notice IS NOT NULL) AS notices
    FROM booking.booking AS b LEFT JOIN notification.delivery AS d ON d.booking_id = b.id
    WHERE b.key >= $1 AND starts_with(b.key, $1) GROUP BY b.id, b.state"""


@dataclass
class ScalingFigures:
    """Of one number of replicas; lists have one value for each round."""

    settled_per_s: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    violations: int = 0
    summary: str = ""


@dataclass(frozen=True)
class KillVerdict:
    rides: int
    lost: int
    duplicated: int
    misordered: int

    @property
    def violations(self) -> int:
        return self.lost + self.duplicated + self.misordered

    def summary(self, killed: Sequence[str]) -> str:
        return (
            f"{', '.join(killed)} killed in a burst of {self.rides} rides, each told twice: {self.lost} lost, "
            f"{self.duplicated} doubled, {self.misordered} told out of order"
        )


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    found = {replicas: ScalingFigures() for replicas in REPLICAS}
    for replicas, scaled in found.items():
        async with start_suite(
            testbed.folder / f"scaling{replicas}", replicas=replicas, env=BACK_PRESSURE_OFF
        ) as suite:
            riders = RideLoad(suite, f"scale{replicas}")
            for number in range(rounds + 1):
                await _run_burst(riders, scaled if number else ScalingFigures())
            await _run_burst_with_kills(riders, replicas, scaled)
    alone = found[1]
    return [
        each
        for replicas, scaled in found.items()
        for each in (
            *([_throughput_row(replicas, scaled, alone)] if replicas > 1 else []),
            _violations_row(replicas, scaled),
        )
    ]


async def _run_burst(load: RideLoad, figures: ScalingFigures) -> None:
    pids = await load.suite.read_pids()
    began = time.perf_counter()
    before = read_cpu_ms(pids)
    offered = await load.offer(PLANS, BURST_PER_S, BURST)
    took_s = time.perf_counter() - began
    after = read_cpu_ms(pids)
    figures.settled_per_s.append(offered.settled_per_s)
    figures.cores.append(sum(after[name] - before[name] for name in pids) / 1e3 / took_s)


async def _run_burst_with_kills(load: RideLoad, replicas: int, figures: ScalingFigures) -> None:
    """Every ride that is confirmed is cancelled, so that its rider is told two things, in an order that matters."""
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
    judgement = judge(await suite.database.fetch(SELECT_NOTICES, f"{run}-"), BURST - refused)
    figures.violations = judgement.violations
    figures.summary = judgement.summary(victims)


async def _cancel_confirmed(suite: BenchSuite, run: str) -> None:
    """Until a while nothing was left to cancel: what was confirmed is cancelled as soon as its rider knows."""
    database = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    last = time.monotonic()
    while time.monotonic() - last < QUIET_S:
        await asyncio.sleep(CANCEL_INTERVAL_S)
        for booking in await database.fetch(SELECT_CANCELLABLE, f"{run}-"):
            last = time.monotonic()
            await _cancel(suite, booking["id"])
    await database.close()


async def _cancel(suite: BenchSuite, booking_id: str) -> None:
    """A booking that is busy, or a service that is away, is looked at again in the next turn."""
    url = f"{suite.state.urls['booking']}/v1/bookings/{booking_id}"
    with contextlib.suppress(aiohttp.ClientError):
        async with suite.session.delete(url):
            pass


def judge(notices: Sequence[Any], rides: int) -> KillVerdict:
    """``notices``: rows of SELECT_NOTICES, of all accepted ``rides``. A rejected one is notified of that only."""
    told = [list(each["notices"] or ()) for each in notices]
    whole = sum(row["state"] in each for row, each in zip(notices, told, strict=True))
    return KillVerdict(
        rides=rides,
        lost=rides - whole,
        duplicated=sum(len(each) - len(set(each)) for each in told),
        misordered=sum(each != sorted(each, key=NOTICE_ORDER.index) for each in told),
    )


def _throughput_row(replicas: int, figures: ScalingFigures, single: ScalingFigures) -> BenchRow:
    busy = f"{median(figures.cores):.2f} of {os.cpu_count()} cores busy, with one replica {median(single.cores):.2f}"
    measure = Benchmark(
        f"scaling: a burst with {replicas} replicas", "settled/s", Better.HIGHER, "one replica, before it", GOAL, busy
    )
    return bench_row(measure, figures.settled_per_s, single.settled_per_s)


def _violations_row(replicas: int, figures: ScalingFigures) -> BenchRow:
    return BenchRow(
        name=f"scaling: killed in a burst, {replicas} of each",
        ours=figures.violations,
        baseline=None,
        baseline_name="",
        unit="violations",
        ratio=None,
        goal="0",
        met=figures.violations == 0,
        note=figures.summary,
    )
