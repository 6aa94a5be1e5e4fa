"""Runner of a campaign: scenarios one after another, each until all of its rides are at rest."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from prebook.contracts.booking import LedgerEntry
from prebook.flows import SERVICES
from prebook.lab.campaign import back_pressure
from prebook.lab.campaign.campaign_report import best_rate_per_s
from prebook.lab.campaign.capacity import capacity_levels, has_fallen_behind, load_level
from prebook.lab.campaign.planned_lines import arrivals_line, fault_line
from prebook.lab.campaign.progress import CampaignProgress
from prebook.lab.campaign.raw_results import RawCampaign, RawScenario, UnmeasuredScenario
from prebook.lab.campaign.scenarios import Scenario
from prebook.lab.campaign.traffic import counter_differences, parse_counters
from prebook.lab.commit import read_commit
from prebook.lab.faults import FaultAccess, FaultWindow, inject, survey_faults
from prebook.lab.ledger.ledger_poller import LedgerPoller
from prebook.lab.ledger.reconciliation import Reconciliation
from prebook.lab.load.arrivals import Arrivals, arrival_offsets
from prebook.lab.load.generator import MAX_LAG_MS, ClockOrigin, Generator, PreparedRequest, prepare_requests
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.rides import campaign_week
from prebook.lab.polling import poll_until
from prebook.lab.report.model import LoadLevel, read_machine
from prebook.lab.suite_client.services import SuiteClient, SuiteUnreachable
from prebook.lab.suite_client.settings import LabSettings

START_DELAY_S = 0.3
"""Seconds between the preparation of requests and the first arrival."""
READY_TIMEOUT_S = 30.0
READY_INTERVAL_S = 0.5
REQUIRED_SERVICES = frozenset(SERVICES)
"""Services that must be ready before a scenario, if their address is known; operations takes no part in rides."""
POLL_INTERVAL_S = 2.0
"""Interval of reading the ledgers while rides arrive; long, because reading them loads the suite."""


@dataclass(frozen=True)
class CampaignOptions:
    """Scenarios of a campaign, seed, rate over all plans, and time limits."""

    scenarios: Sequence[Scenario]
    seed: int
    rate_per_s: float
    duration_s: float
    settle_timeout_s: float
    max_lag_ms: float = MAX_LAG_MS


@dataclass
class Campaign:
    """One campaign against a running suite; it collects the raw results of all scenarios."""

    settings: LabSettings
    fault_access: FaultAccess
    options: CampaignOptions
    session: aiohttp.ClientSession
    progress: CampaignProgress
    run_id: str = field(default_factory=lambda: f"c{secrets.token_hex(4)}")
    scenarios: list[RawScenario] = field(default_factory=list)
    rows: list[LedgerEntry] = field(default_factory=list)
    levels: list[LoadLevel] = field(default_factory=list)
    """Levels of the search for the capacity, which the first scenario that needs it begins."""

    async def run(self) -> RawCampaign:
        """Run all scenarios that the suite supports and return their raw results.

        Raises:
            SuiteUnreachable: the suite is not ready, a ledger cannot be read, or no scenario is supported.
        """
        suite = SuiteClient(self.session, self.settings.addresses)
        await suite.check_ready(REQUIRED_SERVICES)
        unavailable = await self._unavailable_scenarios()
        available = [scenario for scenario in self.options.scenarios if scenario.name not in unavailable]
        if not available:
            raise SuiteUnreachable(
                f"none of the chosen scenarios can run against this suite: {reasons_text(unavailable)}",
                "`prebook fault list` shows the faults that can be injected into it",
            )
        started_at = datetime.now(UTC)
        for scenario in available:
            await self._measure(scenario, suite)
        auctions = await suite.read_auctions()
        booking_ids = {row.booking_id for row in self.rows}
        return RawCampaign(
            run_id=self.run_id,
            seed=self.options.seed,
            rate_per_s=self.options.rate_per_s,
            scenario_duration_s=self.options.duration_s,
            commit=read_commit(),
            started_at=started_at,
            duration_s=round((datetime.now(UTC) - started_at).total_seconds(), 2),
            stack=self.settings.stack,
            machine=read_machine(),
            scenario_order=tuple(scenario.name for scenario in self.options.scenarios),
            scenarios=tuple(self.scenarios),
            unmeasured=tuple(
                UnmeasuredScenario(
                    name=scenario.name,
                    fault=scenario.fault.fault.name if scenario.fault else "",
                    reason=unavailable[scenario.name],
                )
                for scenario in self.options.scenarios
                if scenario.name in unavailable
            ),
            auctions=None if auctions is None else tuple(item for item in auctions if item.booking_id in booking_ids),
        )

    async def _unavailable_scenarios(self) -> Mapping[str, str]:
        """Return scenario -> reason why this suite does not support it."""
        faults = {entry.fault.name: entry.unavailable_reason for entry in await survey_faults(self.fault_access)}
        reasons = {
            scenario.name: faults[scenario.fault.fault.name] for scenario in self.options.scenarios if scenario.fault
        }
        return {name: reason for name, reason in reasons.items() if reason}

    async def _measure(self, scenario: Scenario, suite: SuiteClient) -> None:
        """Run a scenario and keep its raw result; measure the capacity first if its rate is a multiple of that."""
        capacity_per_s = await self._find_capacity(suite) if scenario.capacity_factor else None
        rate_per_s = (capacity_per_s or 0.0) * (scenario.capacity_factor or 0.0) or self.options.rate_per_s
        async with AsyncExitStack() as stack:
            if not scenario.back_pressure:
                await stack.enter_async_context(back_pressure.switch_off(suite))
            await self._offer(scenario, scenario.arrivals(rate_per_s, self.options.duration_s), suite)

    async def _find_capacity(self, suite: SuiteClient) -> float:
        """Return the rides per second that the suite settles, searched for once in a campaign."""
        if not self.levels:
            for level, arrivals in capacity_levels(self.options.rate_per_s):
                reconciliation = await self._offer(level, arrivals, suite, is_capacity_level=True)
                self.levels.append(load_level(self.scenarios[-1], reconciliation))
                if has_fallen_behind(self.levels[-1]):
                    break
        return best_rate_per_s(self.levels)

    async def _offer(
        self, scenario: Scenario, arrivals: Arrivals, suite: SuiteClient, *, is_capacity_level: bool = False
    ) -> Reconciliation:
        """Offer the load of a scenario, wait until its rides are at rest, and keep the raw result."""
        await wait_until_ready(suite)
        requests = self._prepare_requests(scenario, arrivals)
        generator = Generator(self.session, self.settings.addresses.public["booking"], scenario.name, scenario.retries)
        origin = ClockOrigin.now().shifted(START_DELAY_S)
        poller = LedgerPoller(suite, self.run_id, scenario.name, generator, origin, self.rows)
        self.progress.begin_scenario(scenario, len(requests), generator, poller)
        counters_before = await self._read_counters(suite)
        async with asyncio.TaskGroup() as tasks:
            fault = tasks.create_task(self._inject_fault(scenario, arrivals, origin))
            polling = tasks.create_task(poller.poll_while_offering(POLL_INTERVAL_S))
            await generator.offer(requests, origin)
            poller.offering_done.set()
            polling.cancel()
        settle_s = await poller.wait_until_settled(self.options.settle_timeout_s)
        reconciliation = poller.reconciliation
        self.rows.extend(reconciliation.rows)
        self.scenarios.append(
            RawScenario(
                name=scenario.name,
                expectation=scenario.expectation,
                arrivals=arrivals_line(arrivals),
                started_at=origin.wall,
                samples=tuple(account.sample for account in reconciliation.accounts),
                rows=reconciliation.rows,
                deliveries=tuple(entry for account in reconciliation.accounts for entry in account.deliveries),
                dead_lettered=None if poller.dead_lettered is None else tuple(sorted(poller.dead_lettered)),
                settle_s=settle_s,
                max_lag_ms=self.options.max_lag_ms,
                fault=fault_line(scenario.fault, arrivals),
                fault_window=fault.result(),
                outage_is_bridged=scenario.outage_is_bridged,
                capacity_factor=scenario.capacity_factor,
                back_pressure=scenario.back_pressure,
                is_capacity_level=is_capacity_level,
                counters=counter_differences(counters_before, await self._read_counters(suite)),
            )
        )
        return reconciliation

    async def _read_counters(self, suite: SuiteClient) -> Mapping[str, float]:
        """Return the counters of all services; empty if one of them does not respond."""
        try:
            return parse_counters([await suite.read_metrics(service) for service in sorted(REQUIRED_SERVICES)])
        except SuiteUnreachable:
            return {}

    def _prepare_requests(self, scenario: Scenario, arrivals: Arrivals) -> tuple[PreparedRequest, ...]:
        seed = f"{self.options.seed}:{scenario.load_name or scenario.name}"
        planned = interleave(arrival_offsets(arrivals, seed), tuple(PLANS), seed)
        week = campaign_week(datetime.now(UTC))
        return prepare_requests(planned, run_id=self.run_id, scenario=scenario.name, seed=self.options.seed, week=week)

    async def _inject_fault(self, scenario: Scenario, arrivals: Arrivals, origin: ClockOrigin) -> FaultWindow | None:
        fault = scenario.fault
        if fault is None:
            return None
        await origin.wait_until(fault.start_fraction * arrivals.duration_s)
        self.progress.fault_text = f"{fault.target}: {fault.kind}"
        window = await inject(fault.fault, fault.duration_fraction * arrivals.duration_s, self.fault_access)
        self.progress.fault_text = f"{fault.target}: {'ended' if window.took_effect else 'NO EFFECT'}"
        return window


async def wait_until_ready(suite: SuiteClient) -> None:
    """Wait until every service is ready again after the last fault.

    Raises:
        SuiteUnreachable: a service is not ready after READY_TIMEOUT_S.
    """

    async def check_ready() -> bool | None:
        with suppress(SuiteUnreachable):
            await suite.check_ready(REQUIRED_SERVICES)
            return True
        return None

    try:
        await poll_until(check_ready, interval_s=READY_INTERVAL_S, timeout_s=READY_TIMEOUT_S)
    except TimeoutError:
        await suite.check_ready(REQUIRED_SERVICES)


def reasons_text(unavailable: Mapping[str, str]) -> str:
    """Return the reasons of all unavailable scenarios, joined by semicolons."""
    return "; ".join(f"{scenario}: {reason}" for scenario, reason in unavailable.items())
