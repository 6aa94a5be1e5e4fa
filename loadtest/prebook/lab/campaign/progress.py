"""How far a campaign is: read by whoever shows it, changed by whoever plays it."""

from dataclasses import dataclass, field

from prebook.lab.campaign.scenarios import Scenario
from prebook.lab.ledger.ledger_poller import Books
from prebook.lab.load.generator import Generator


@dataclass(frozen=True)
class Counts:
    planned: int = 0
    offered: int = 0
    answered: int = 0
    accepted: int = 0
    settled: int = 0
    waiting: int = 0
    at_rest: int = 0


@dataclass
class Stage:
    """One scenario being played."""

    scenario: Scenario
    planned: int
    generator: Generator
    books: Books

    @property
    def counts(self) -> Counts:
        samples, accounts = self.generator.samples, self.books.current.accounts
        return Counts(
            planned=self.planned,
            offered=self.generator.sent,
            answered=len(samples),
            accepted=sum(sample.accepted for sample in samples),
            settled=sum(account.settled for account in accounts),
            waiting=self.books.current.waiting,
            at_rest=len(accounts) - self.books.current.waiting,
        )


@dataclass
class Progress:
    stages: list[Stage] = field(default_factory=list)
    fault: str = ""

    def begin(self, scenario: Scenario, planned: int, generator: Generator, books: Books) -> None:
        self.fault = ""
        self.stages.append(Stage(scenario, planned, generator, books))
