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
from prebook.lab.bench.ride_load import Riders
from prebook.lab.bench.rows import Better, Measure, Row, row
from prebook.lab.bench.suite import Standing, dsn_of, standing
from prebook.lab.bench.testbed import Ground
from prebook.lab.process_tree import spent_ms

REPLICAS, GOAL = (1, 2, 4), 0.9
PLANS = (Coupling.ONE_WAY.value, Coupling.REQUEST_REPLY.value)
"""By which further replicas are reached: a call goes to the first one."""
BURST, BURST_PER_S, KILL_AFTER_S = 160, 100.0, 1.5
ALL_ARE_TAKEN = {"PREBOOK_BACK_PRESSURE": "off"}
"""What is measured is how fast a burst is worked off, not how much of it is turned away."""
CANCEL_EVERY_S, QUIET_S = 0.2, 8.0
KILLED = ("matching", "notification")
ORDER = [notice.value for notice in Notice]
TO_CANCEL = """
    SELECT id FROM booking.booking
    WHERE key >= $1 AND starts_with(key, $1) AND state = 'confirmed' AND notified_at IS NOT NULL"""
# Of each ride: how it ended, and what its rider heard, in that order.
HEARD = """
    SELECT b.state, array_agg(d.notice ORDER BY d.delivered_at) FILTER (WHERE d.notice IS NOT NULL) AS heard
    FROM booking.booking AS b LEFT JOIN notification.delivery AS d ON d.booking_id = b.id
    WHERE b.key >= $1 AND starts_with(b.key, $1) GROUP BY b.id, b.state"""


@dataclass
class Scaled:
    """Of one number of replicas; lists have one value for each round."""

    settled_per_s: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    wrong: int = 0
    judged: str = ""


@dataclass(frozen=True)
class Judgement:
    rides: int
    lost: int
    doubled: int
    disordered: int

    @property
    def wrong(self) -> int:
        return self.lost + self.doubled + self.disordered

    def told(self, killed: Sequence[str]) -> str:
        return (
            f"{', '.join(killed)} killed in a burst of {self.rides} rides, each told twice: {self.lost} lost, "
            f"{self.doubled} doubled, {self.disordered} told out of order"
        )


async def measured(ground: Ground, rounds: int) -> list[Row]:
    found = {replicas: Scaled() for replicas in REPLICAS}
    for replicas, scaled in found.items():
        async with standing(ground.folder / f"scaling{replicas}", replicas=replicas, env=ALL_ARE_TAKEN) as suite:
            riders = Riders(suite, f"scale{replicas}")
            for number in range(rounds + 1):
                await _burst(riders, scaled if number else Scaled())
            await _killed(riders, replicas, scaled)
    alone = found[1]
    return [
        each
        for replicas, scaled in found.items()
        for each in (*([_faster(replicas, scaled, alone)] if replicas > 1 else []), _whole(replicas, scaled))
    ]


async def _burst(riders: Riders, into: Scaled) -> None:
    pids = await riders.suite.pids()
    began, before = time.perf_counter(), spent_ms(pids)
    offered = await riders.offer(PLANS, BURST_PER_S, BURST)
    took_s, after = time.perf_counter() - began, spent_ms(pids)
    into.settled_per_s.append(offered.settled_per_s)
    into.cores.append(sum(after[name] - before[name] for name in pids) / 1e3 / took_s)


async def _killed(riders: Riders, replicas: int, into: Scaled) -> None:
    """Every ride that is confirmed is cancelled, so that its rider is told two things, in an order that matters."""
    victims = [f"{name}-{replicas}" if replicas > 1 else name for name in KILLED]
    suite, run = riders.suite, riders.next_run()
    burst = asyncio.create_task(riders.offer(PLANS, BURST_PER_S, BURST, run))
    cancelling = asyncio.create_task(_cancelled(suite, run))
    await asyncio.sleep(KILL_AFTER_S)
    for name in victims:
        await suite.kill(name)
    refused = (await burst).refused
    await cancelling
    await riders.at_rest(run)
    judgement = judged(await suite.database.fetch(HEARD, f"{run}-"), BURST - refused)
    into.wrong, into.judged = judgement.wrong, judgement.told(victims)


async def _cancelled(suite: Standing, run: str) -> None:
    """Until a while nothing was left to cancel: what was confirmed is cancelled as soon as its rider knows."""
    database, last = await asyncpg.connect(dsn_of(suite.where)), time.monotonic()
    while time.monotonic() - last < QUIET_S:
        await asyncio.sleep(CANCEL_EVERY_S)
        for booking in await database.fetch(TO_CANCEL, f"{run}-"):
            last = time.monotonic()
            await _cancel(suite, booking["id"])
    await database.close()


async def _cancel(suite: Standing, booking_id: str) -> None:
    """A booking that is busy, or a service that is away, is looked at again in the next turn."""
    url = f"{suite.where.urls['booking']}/v1/bookings/{booking_id}"
    with contextlib.suppress(aiohttp.ClientError):
        async with suite.session.delete(url):
            pass


def judged(heard: Sequence[Any], rides: int) -> Judgement:
    """``heard``: rows of HEARD, of all ``rides`` taken in. One that was rejected is told that, and no more."""
    told = [list(each["heard"] or ()) for each in heard]
    whole = sum(row["state"] in each for row, each in zip(heard, told, strict=True))
    return Judgement(
        rides=rides,
        lost=rides - whole,
        doubled=sum(len(each) - len(set(each)) for each in told),
        disordered=sum(each != sorted(each, key=ORDER.index) for each in told),
    )


def _faster(replicas: int, scaled: Scaled, alone: Scaled) -> Row:
    busy = f"{median(scaled.cores):.2f} of {os.cpu_count()} cores busy, with one replica {median(alone.cores):.2f}"
    measure = Measure(
        f"scaling: a burst with {replicas} replicas", "settled/s", Better.HIGHER, "one replica, before it", GOAL, busy
    )
    return row(measure, scaled.settled_per_s, alone.settled_per_s)


def _whole(replicas: int, scaled: Scaled) -> Row:
    return Row(
        name=f"scaling: killed in a burst, {replicas} of each",
        ours=scaled.wrong,
        peer=None,
        peer_name="",
        unit="violations",
        ratio=None,
        goal="0",
        met=scaled.wrong == 0,
        note=scaled.judged,
    )
