"""Plays scenarios against a running suite, one after another, each to its rest, and reports."""

import asyncio
import os
import platform
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from prebook.contracts.booking import LedgerLine
from prebook.flows import SERVICES
from prebook.lab.campaign.progress import Progress
from prebook.lab.campaign.scenario_report import REFUSED_MS, Played, matrix_row, scenario_report
from prebook.lab.campaign.scenarios import Scenario
from prebook.lab.faults import FaultWindow, Levers, inject, survey
from prebook.lab.ledger.accounts import finished
from prebook.lab.ledger.ledger_poller import Books
from prebook.lab.load.arrivals import Arrivals, offsets
from prebook.lab.load.generator import Generator, Order, Origin, prepare
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample
from prebook.lab.report.matrix import Row
from prebook.lab.report.model import Machine, Report, ScenarioReport
from prebook.lab.report.verdict import judged
from prebook.lab.suite_client.services import Suite, SuiteUnreachable
from prebook.lab.suite_client.settings import READ_SERVICES, Settings

LEAD_S = 0.3
"""Between the last preparation and the first arrival."""
READY_WITHIN_S, READY_EVERY_S = 30.0, 0.5
TAKING_PART = frozenset(SERVICES)
"""Who is to be ready before a scenario, where it is known; operations takes no part in rides."""
LOOK_EVERY_S = 2.0
"""How often the ledgers are read while rides still arrive: seldom, for reading them costs the suite."""


@dataclass(frozen=True)
class Terms:
    """What a campaign plays."""

    scenarios: Sequence[Scenario]
    seed: int
    rate_per_s: float
    duration_s: float
    settle_deadline_s: float
    most_lag_ms: float = REFUSED_MS


@dataclass
class Campaign:
    settings: Settings
    levers: Levers
    terms: Terms
    session: aiohttp.ClientSession
    progress: Progress
    run: str = field(default_factory=lambda: f"c{secrets.token_hex(4)}")
    samples: list[Sample] = field(default_factory=list)
    rows: list[LedgerLine] = field(default_factory=list)

    async def play(self) -> Report:
        """Raises SuiteUnreachable where the suite is not there, or its ledgers cannot be read at the end."""
        suite = Suite(self.session, self.settings.urls)
        await suite.check_ready(READ_SERVICES)
        why_not = await self._why_not()
        playable = [scenario for scenario in self.terms.scenarios if scenario.name not in why_not]
        if not playable:
            raise SuiteUnreachable(f"none of the chosen scenarios can be played here: {listed(why_not)}")
        began_at = datetime.now(UTC)
        reports = [scenario_report(await self._scenario(scenario, suite)) for scenario in playable]
        return judged(
            Report(
                run=self.run,
                seed=self.terms.seed,
                began_at=began_at,
                took_s=round((datetime.now(UTC) - began_at).total_seconds(), 2),
                stack=self.settings.stack,
                machine=machine(),
                scenarios=tuple(reports),
                matrix=tuple(self._matrix(reports, why_not)),
            )
        )

    async def _why_not(self) -> Mapping[str, str]:
        """Scenario -> why its fault cannot be injected into this suite."""
        lacking = {each.fault.name: each.why_not for each in await survey(self.levers)}
        faulty = [(scenario.name, scenario.fault.fault.name) for scenario in self.terms.scenarios if scenario.fault]
        return {name: lacking[fault] for name, fault in faulty if lacking[fault]}

    def _matrix(self, reports: Sequence[ScenarioReport], why_not: Mapping[str, str]) -> Iterator[Row]:
        played = {report.name: report for report in reports}
        for scenario in self.terms.scenarios:
            if scenario.name in why_not and scenario.fault:
                yield Row(scenario=scenario.name, fault=scenario.fault.fault.name, why_not=why_not[scenario.name])
            elif scenario.fault:
                yield matrix_row(played[scenario.name])

    async def _scenario(self, scenario: Scenario, suite: Suite) -> Played:
        await until_ready(suite)
        arrivals = scenario.arrivals(self.terms.rate_per_s, self.terms.duration_s)
        orders = self._orders(scenario, arrivals)
        generator = Generator(self.session, self.settings.urls["booking"], scenario.name, scenario.returns)
        origin = Origin.now().later(LEAD_S)
        books = Books(suite, self.run, scenario.name, generator, origin, self.rows)
        self.progress.begin(scenario, len(orders), generator, books)
        async with asyncio.TaskGroup() as together:
            fault = together.create_task(self._fault(scenario, arrivals, origin))
            looking = together.create_task(books.look_on(LOOK_EVERY_S))
            await generator.offer(orders, origin)
            books.offered.set()
            looking.cancel()
        settle_s = await books.settle(self.terms.settle_deadline_s)
        self.samples.extend(map(finished, books.current.accounts))
        self.rows.extend(books.current.rows)
        return Played(
            scenario,
            arrivals,
            origin.wall,
            books.current,
            fault.result(),
            settle_s,
            books.parked is not None,
            self.terms.most_lag_ms,
        )

    def _orders(self, scenario: Scenario, arrivals: Arrivals) -> tuple[Order, ...]:
        seed = f"{self.terms.seed}:{scenario.name}"
        offers = interleave(offsets(arrivals, seed), tuple(PLANS), seed)
        week = campaign_week(datetime.now(UTC))
        return prepare(offers, run=self.run, scenario=scenario.name, seed=self.terms.seed, week=week)

    async def _fault(self, scenario: Scenario, arrivals: Arrivals, origin: Origin) -> FaultWindow | None:
        fault = scenario.fault
        if fault is None:
            return None
        await origin.wait_until(fault.starts * arrivals.duration_s)
        self.progress.fault = f"{fault.target}: {fault.kind}"
        window = await inject(fault.fault, fault.lasts * arrivals.duration_s, self.levers)
        self.progress.fault = f"{fault.target}: {'over' if window.took_effect else 'NO EFFECT'}"
        return window


async def until_ready(suite: Suite) -> None:
    """The last fault is got over. Raises SuiteUnreachable where a service is not ready in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN_S):
            await _ready(suite)
            return
    await suite.check_ready(TAKING_PART)


async def _ready(suite: Suite) -> None:
    while True:
        with suppress(SuiteUnreachable):
            return await suite.check_ready(TAKING_PART)
        await asyncio.sleep(READY_EVERY_S)


def listed(why_not: Mapping[str, str]) -> str:
    return "; ".join(f"{scenario}: {reason}" for scenario, reason in why_not.items())


def machine() -> Machine:
    return Machine(
        cores=os.cpu_count() or 0,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        python=platform.python_version(),
        platform=platform.platform(),
    )
