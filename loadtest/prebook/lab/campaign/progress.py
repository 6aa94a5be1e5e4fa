"""How far a campaign is: read by whoever shows it, changed by whoever plays it."""

from dataclasses import dataclass, field

from prebook.lab.campaign.scenarios import Scenario
from prebook.lab.ledger.ledger_poller import LedgerPoller
from prebook.lab.load.generator import Generator


@dataclass(frozen=True)
class ProgressCounts:
    planned: int = 0
    offered: int = 0
    responses: int = 0
    accepted: int = 0
    settled: int = 0
    pending: int = 0
    at_rest: int = 0


@dataclass
class ScenarioProgress:
    """One scenario being played."""

    scenario: Scenario
    planned: int
    generator: Generator
    poller: LedgerPoller

    @property
    def counts(self) -> ProgressCounts:
        samples = self.generator.samples
        accounts = self.poller.reconciliation.accounts
        return ProgressCounts(
            planned=self.planned,
            offered=self.generator.sent,
            responses=len(samples),
            accepted=sum(sample.accepted for sample in samples),
            settled=sum(account.settled for account in accounts),
            pending=self.poller.reconciliation.pending,
            at_rest=len(accounts) - self.poller.reconciliation.pending,
        )


@dataclass
class CampaignProgress:
    stages: list[ScenarioProgress] = field(default_factory=list)
    fault_text: str = ""

    def begin_scenario(self, scenario: Scenario, planned: int, generator: Generator, poller: LedgerPoller) -> None:
        self.fault_text = ""
        self.stages.append(ScenarioProgress(scenario, planned, generator, poller))
