"""Progress of a campaign: written by the runner, read by the terminal."""

from dataclasses import dataclass, field

from prebook.lab.campaign.scenarios import Scenario
from prebook.lab.ledger.ledger_poller import LedgerPoller
from prebook.lab.load.generator import Generator


@dataclass(frozen=True)
class ProgressCounts:
    """Numbers of rides of one scenario: planned, and those that reached each stage. ``pending`` are not at rest."""

    planned: int = 0
    offered: int = 0
    responses: int = 0
    accepted: int = 0
    settled: int = 0
    pending: int = 0
    at_rest: int = 0


@dataclass
class ScenarioProgress:
    """Progress of one scenario."""

    scenario: Scenario
    planned: int
    generator: Generator
    poller: LedgerPoller

    @property
    def counts(self) -> ProgressCounts:
        """Current numbers, from the samples so far and the last reconciliation."""
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
    """Progress of all scenarios started so far, and the state of the current fault."""

    stages: list[ScenarioProgress] = field(default_factory=list)
    fault_text: str = ""

    def begin_scenario(self, scenario: Scenario, planned: int, generator: Generator, poller: LedgerPoller) -> None:
        """Start a new scenario with ``planned`` requests."""
        self.fault_text = ""
        self.stages.append(ScenarioProgress(scenario, planned, generator, poller))
