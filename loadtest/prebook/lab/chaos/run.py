"""One chaos run: bookings are offered, faults come, all comes to rest, and the evidence is gathered."""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.flows import PROCESSES
from prebook.lab.chaos import database
from prebook.lab.chaos.arrivals import SCENARIO, orders
from prebook.lab.chaos.cancelling_riders import FickleRiders
from prebook.lab.chaos.database import TablesUnreadable
from prebook.lab.chaos.duplicates import Duplicates
from prebook.lab.chaos.evidence import Evidence
from prebook.lab.chaos.injector import DUPLICATES, Breaking, choices
from prebook.lab.chaos.phases import in_turns, played
from prebook.lab.chaos.schedule import Planned, drawn
from prebook.lab.faults import Levers, available
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.generator import Origin
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import key_prefix
from prebook.lab.suite_client.services import Suite, SuiteUnreachable, parked_lines

LEAD_S, LOOK_EVERY_S, SETTLE_EVERY_S = 0.5, 5.0, 2.0
CLOCK_SLACK_S = 300.0
"""How far a service's clock may be off: a fault may set it."""


@dataclass(frozen=True)
class Terms:
    bookings: int
    faults: int
    seed: int
    rate_per_s: float
    settle_deadline_s: float

    @property
    def duration_s(self) -> float:
        return self.bookings / self.rate_per_s


class NothingToBreak(Exception):
    """No fault of the catalogue can be injected into this suite."""


@dataclass
class Run:
    """One run against a running suite. What it holds may be watched while it goes."""

    terms: Terms
    levers: Levers
    database_url: str = field(repr=False)
    name: str = field(default_factory=lambda: f"x{secrets.token_hex(4)}")
    plan: tuple[Planned, ...] = ()
    books: Reconciliation = field(default_factory=lambda: reconcile((), (), ()))
    settling: bool = False
    generator: FickleRiders = field(init=False)
    breaking: Breaking = field(init=False)
    duplicates: Duplicates = field(init=False)

    def __post_init__(self) -> None:
        self.suite = Suite(self.levers.session, self.levers.urls)
        urls, session = self.levers.urls, self.levers.session
        self.generator = FickleRiders(session, urls["booking"], SCENARIO, self.terms.seed)
        self.duplicates = Duplicates(self.levers.session, self.levers.urls)
        self.breaking = Breaking(self.levers, {}, (), self.suite)

    async def prepare(self) -> Sequence[Planned]:
        """Draws the schedule. Raises SuiteUnreachable, or NothingToBreak where no fault can be injected here."""
        await self.suite.check_ready(PROCESSES)
        faults = {fault.name: fault for fault in await available(self.levers)}
        if not faults:
            raise NothingToBreak("no fault of the catalogue can be injected here; `prebook fault list` says why")
        terms = self.terms
        self.plan = drawn(choices(list(faults.values())), terms.faults, terms.seed, terms.duration_s, DUPLICATES)
        self.breaking = Breaking(self.levers, faults, self.plan, self.suite)
        return self.plan

    async def play(self) -> Evidence:
        """Raises SuiteUnreachable or TablesUnreadable where the suite cannot be read at the end."""
        terms, week = self.terms, campaign_week(datetime.now(UTC))
        wanted = orders(terms.bookings, terms.duration_s, terms.seed, run=self.name, week=week)
        await self.duplicates.look()
        origin = Origin.now().later(LEAD_S)
        watching = [asyncio.create_task(self.duplicates.watch()), asyncio.create_task(self._look_on(origin))]
        try:
            await played(in_turns(self.plan, wanted), self.generator, self.breaking, origin)
            self.settling = True
            await self._settle(origin)
            return await self._evidence(origin)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)

    async def _look(self, origin: Origin) -> Reconciliation:
        rows = await self.suite.rows(key_prefix(self.name, SCENARIO))
        deliveries = await self.suite.deliveries(origin.wall_at(-CLOCK_SLACK_S))
        self.books = reconcile(self.generator.samples, rows, deliveries)
        return self.books

    async def _look_on(self, origin: Origin) -> None:
        while not self.settling:
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(SuiteUnreachable):  # a suite under a fault may be slow to tell; the last look decides
                await self._look(origin)

    async def _settle(self, origin: Origin) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.terms.settle_deadline_s):
                await self._until_at_rest(origin)

    async def _until_at_rest(self, origin: Origin) -> None:
        while True:
            if await self._rests(origin):
                return
            await asyncio.sleep(SETTLE_EVERY_S)

    async def _rests(self, origin: Origin) -> bool:
        """Every ride has an outcome, its rider knows, and no message of it is on its way."""
        with suppress(SuiteUnreachable, TablesUnreadable):
            if not (await self._look(origin)).waiting:
                return await database.at_rest(self.database_url, self._ids())
        return False

    async def _evidence(self, origin: Origin) -> Evidence:
        await self.duplicates.look()
        parked = await parked_lines(self.suite)
        rows, deliveries = self.books.rows, await self.suite.deliveries(origin.wall_at(-CLOCK_SLACK_S))
        rows = await self.suite.rows(key_prefix(self.name, SCENARIO))
        stuck = {line.conversation for line in parked}
        self.books = reconcile(self.generator.samples, rows, deliveries, parked=stuck)
        return Evidence(
            books=self.books,
            tables=await database.read(self.database_url, self._ids()),
            parked=parked,
            wire_duplicates=self.duplicates.total,
            faults=sorted(self.breaking.broken, key=lambda fault: fault.at_s),
            poisoned=self.breaking.poisoned,
            cancels=dict(self.generator.cancels),
        )

    def _ids(self) -> list[str]:
        return [row.booking_id for row in self.books.rows]
