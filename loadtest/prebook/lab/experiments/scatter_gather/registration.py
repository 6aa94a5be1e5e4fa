"""Registration of the experiment: one partner fleet fails while services are killed, and no ride waits for it."""

import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Self

import asyncpg
import rich_click as click

from prebook.contracts.matching import DriverMatched, DriverReply, NoDriverFound
from prebook.contracts.partners import PartnerCondition
from prebook.flows import FIND_DRIVER
from prebook.lab.background import run_in_background
from prebook.lab.bench.testbed import wait_until
from prebook.lab.experiments.experiment import (
    Experiment,
    ExperimentRun,
    Measurement,
    ResultTable,
    Section,
    Size,
    SizeOption,
)
from prebook.lab.experiments.patterns.receiver import SeededDefect
from prebook.lab.experiments.patterns.size import LOSE_ONLY, defect_option
from prebook.lab.experiments.scatter_gather import facts
from prebook.lab.experiments.scatter_gather.laws import (
    ANSWERED,
    IN_TIME,
    NO_WAIT,
    PARTIAL,
    REPLIES,
    RIGHT,
    TOLERANCE_S,
    WRONG,
    AuctionsSeen,
    auction_checks,
    is_overdue,
    total_replies,
    wait_check,
    waits_s,
)
from prebook.lab.experiments.scatter_gather.requests import request_drivers
from prebook.lab.experiments.service_processes import ServiceProcesses
from prebook.lab.experiments.stub_caller import StubCaller
from prebook.lab.experiments.testbed import connect_as_admin
from prebook.lab.experiments.timer_lag import TimerLag
from prebook.lab.faults.catalogue import PARTNERS
from prebook.lab.faults.partners import impose
from prebook.lab.load.rides import campaign_week, nth_ride
from prebook.messaging.envelope import message_id
from prebook.patterns.scatter_gather import Completion

DEADLINE_S = 0.5
PARTNER_TIMEOUT_S = 1.5
"""Longer than the deadline, so that a dead fleet is abandoned after it, and a slow one replies late."""
NO_DEADLINE_S = 300.0
CONDITION_S = 300.0
"""Longer than a batch; the next one ends it."""
MAX_LAG_S = 0.05
"""Lateness of a timer above which the machine is too busy to judge a law with a tolerance of 250 ms."""
REST_TIMEOUT_S = 120.0
POLL_INTERVAL_S = 0.05
VICTIMS = ("matching", "fleets")
CONDITIONS = (PartnerCondition.DEAD, PartnerCondition.SLOW, PartnerCondition.GARBLED)
SHARED = {"PREBOOK_PARTNER_WIRE": "http", "PREBOOK_PARTNER_TIMEOUT_S": str(PARTNER_TIMEOUT_S)}
RIGHT_SETTINGS = {**SHARED, "PREBOOK_MIN_OFFERS": "2", "PREBOOK_OFFER_DEADLINE_S": str(DEADLINE_S)}
WRONG_SETTINGS = {**SHARED, "PREBOOK_MIN_OFFERS": "4", "PREBOOK_OFFER_DEADLINE_S": str(NO_DEADLINE_S)}


class AuctionsSize(Size, frozen=True, kw_only=True):
    """Size of the experiment: batches, a kill during every second one, rides of each batch, and a defect to seed."""

    rides: int = 20
    batches: int = 16
    defect: SeededDefect = SeededDefect.NONE


@dataclass
class AuctionsRun:
    """Matching and fleets, and requests in batches, each with one partner in one condition."""

    run: ExperimentRun
    services: ServiceProcesses
    booking: StubCaller
    database: asyncpg.Connection
    prefix: str
    requested: list[str] = field(default_factory=list)
    disturbed: set[str] = field(default_factory=set)
    lag: TimerLag = field(default_factory=TimerLag)
    """Of batches without a kill."""

    @classmethod
    @asynccontextmanager
    async def start(cls, run: ExperimentRun, settings: Mapping[str, str]) -> AsyncIterator[Self]:
        """Run both services with these settings while the block runs."""
        async with (
            connect_as_admin(run.testbed.context.database_url) as database,
            StubCaller.open(run.testbed, FIND_DRIVER) as booking,
            ServiceProcesses.run(run.testbed, VICTIMS, settings) as services,
        ):
            yield cls(run, services, booking, database, f"bk_{secrets.token_hex(4)}")

    async def request_batch(self, rides: int, partner: str, condition: PartnerCondition, victim: str = "") -> None:
        """Request drivers while ``partner`` is in ``condition``; kill ``victim`` midway, and wait until all is at rest.

        A killed process of fleets forgets the condition of its partners.
        """
        for other in PARTNERS:
            imposed = condition if other == partner else PartnerCondition.HEALTHY
            await impose(self.services.access, other, imposed, CONDITION_S)
        week = campaign_week(datetime.now(UTC))
        numbers = range(len(self.requested), len(self.requested) + rides)
        batch = [(f"{self.prefix}{number:05d}", nth_ride(self.run.seed, number, week)) for number in numbers]
        ids = [booking_id for booking_id, _ in batch]
        self.requested += ids
        await request_drivers(self.booking, batch[: rides // 2])
        if victim:
            await self._wait(lambda: facts.count_auctions(self.database, ids), 1)
            await self.services.kill(victim)
            self.disturbed |= set(ids)
        await request_drivers(self.booking, batch[rides // 2 :])
        async with run_in_background(*([] if victim else [self.lag.watch()])):
            with suppress(TimeoutError):  # an answer that never comes violates its law
                await self._wait(lambda: facts.count_settled(self.database, ids), rides)
                await self._wait(lambda: self._count_answers(ids), rides)
        if victim:
            await self.services.wait_until_ready(victim)
        self.run.log(f"{len(self.requested)} drivers requested; {partner} {condition}, {victim or 'no process'} killed")

    async def observe(self, deadline_s: float) -> AuctionsSeen:
        """Return what is there."""
        answers = {booking_id: self._find_answer(booking_id) for booking_id in self.requested}
        auctions = await facts.read_auctions(self.database, answers, self.disturbed)
        return AuctionsSeen(len(answers), auctions, deadline_s)

    def _find_answer(self, booking_id: str) -> DriverReply | None:
        reply = self.booking.replies.get(message_id(booking_id, FIND_DRIVER.name))
        return reply if isinstance(reply, DriverMatched | NoDriverFound) else None

    async def _count_answers(self, ids: Collection[str]) -> int:
        return sum(self._find_answer(booking_id) is not None for booking_id in ids)

    async def _wait(self, count: Callable[[], Awaitable[int]], expected: int) -> None:
        async def is_reached() -> bool:
            return await count() >= expected

        await wait_until(is_reached, REST_TIMEOUT_S, POLL_INTERVAL_S)


async def measure(run: ExperimentRun, size: AuctionsSize) -> Measurement:
    """Request drivers while one fleet is dead, slow or garbled, with and without kills; then wait for a dead fleet."""
    rng = random.Random(f"kills:{run.seed}")
    async with AuctionsRun.start(run, RIGHT_SETTINGS) as right:
        await right.request_batch(size.rides, PARTNERS[0], PartnerCondition.HEALTHY)
        healthy = await right.observe(DEADLINE_S)
        if size.defect is SeededDefect.LOSE:
            await facts.ignore_a_late_reply(right.database)
        first = rng.randrange(len(VICTIMS))
        for number in range(size.batches):
            victim = VICTIMS[(first + number // 2) % len(VICTIMS)] if number % 2 else ""
            condition = CONDITIONS[number % len(CONDITIONS)]
            await right.request_batch(size.rides, rng.choice(PARTNERS), condition, victim)
        seen = await right.observe(DEADLINE_S)
    async with AuctionsRun.start(run, WRONG_SETTINGS) as wrong:
        await wrong.request_batch(size.rides, PARTNERS[0], PartnerCondition.DEAD)
        waiting = await wrong.observe(NO_DEADLINE_S)
    caption = f"kills: {size.batches // 2}; partner time-out {PARTNER_TIMEOUT_S:g} s, deadline {DEADLINE_S:g} s"
    return Measurement(
        checks=[*auction_checks(seen, _doubt(healthy, right.lag)), wait_check(waiting)],
        tables=[_table({"all fleets healthy": healthy, RIGHT: seen, f"{WRONG}, ada dead": waiting}, caption)],
        details={"overdue": [each for each in seen.auctions if is_overdue(each, DEADLINE_S) and not each.disturbed]},
    )


def _doubt(healthy: AuctionsSeen, lag: TimerLag) -> str:
    """Return why this machine cannot judge the law about time; empty if it can."""
    waits = waits_s(healthy.auctions)
    slowest_s = waits[int(0.95 * len(waits))] if waits else 0.0
    if slowest_s > TOLERANCE_S:
        return f"the machine was too busy: with all fleets healthy, one auction in twenty took {slowest_s:.2f} s"
    return f"the machine was too busy: a timer was {1000 * lag.max_s:.0f} ms late" if lag.max_s > MAX_LAG_S else ""


def _table(ways: Mapping[str, AuctionsSeen], caption: str) -> ResultTable:
    columns = ("way", "requests", "used", "late", "duplicate", "unreadable", "missing", "partial")
    by = tuple(f"by {each.value.replace('_', ' ')}" for each in Completion)
    return ResultTable.by_arrangement(
        "Replies of fleets, and seconds until the answer",
        (*columns, *by, "median s", "slowest s"),
        ways,
        _cells,
        caption,
    )


def _cells(seen: AuctionsSeen) -> tuple[object, ...]:
    total = total_replies(seen.auctions)
    waits = waits_s(a for a in seen.auctions if not a.disturbed)
    completed = [auction.completed_by for auction in seen.auctions]
    partial = sum(auction.is_partial for auction in seen.auctions)
    counts = (seen.requested, total.used, total.late, total.duplicate, total.unreadable, total.missing, partial)
    return (
        *counts,
        *(completed.count(each) for each in Completion),
        *((f"{median(waits):.2f}", f"{waits[-1]:.2f}") if waits else ("-", "-")),
    )


SCATTER_GATHER = Experiment(
    name="scatter-gather",
    section=Section.PATTERNS,
    claims=("D4",),
    pattern="Scatter-Gather (EIP)",
    code="shared/prebook/patterns/scatter_gather.py",
    claim="A slow, dead or garbled fleet delays no ride that has two other offers, and every reply is accounted for.",
    varies="condition of one fleet behind HTTP; kills of matching and fleets; number of offers that are enough",
    law=f"{ANSWERED}; {REPLIES}; {PARTIAL}; {NO_WAIT}; {IN_TIME}",
    wrong_way="wait for all fleets: a dead one costs every ride the time after which it is abandoned",
    expected="With two offers a ride is decided at once; waiting for all, each waits for the dead fleet.",
    full=AuctionsSize(),
    quick=AuctionsSize(rides=12, batches=3),
    options=(
        SizeOption("rides", click.IntRange(8, 2_000), "Number of rides of each batch."),
        SizeOption("batches", click.IntRange(2, 200), "Number of batches; a process is killed in every second one."),
        defect_option(LOSE_ONLY, "a late reply is not counted"),
    ),
    measure=measure,
)
