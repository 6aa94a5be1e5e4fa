"""The report. Its format is a contract (``assets/report.schema.json``); its numbers come from the accounts alone."""

import os
import platform
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import msgspec

from prebook.contracts.plan import Coupling
from prebook.lab.faults import FaultWindow
from prebook.lab.ledger.discrepancies import Discrepancy
from prebook.lab.ledger.reconciliation import Ledger
from prebook.lab.quantiles import LatencySummary
from prebook.lab.report.matrix import MatrixRow
from prebook.lab.suite_client.settings import StackInfo


class ScenarioFinding(msgspec.Struct, frozen=True, kw_only=True):
    scenario: str
    text: str


class PlanTradeOff(msgspec.Struct, frozen=True, kw_only=True):
    """Where one plan won in this run, and what it cost."""

    label: str
    wins: tuple[str, ...]
    costs: tuple[str, ...]


class CampaignVerdict(msgspec.Struct, frozen=True, kw_only=True):
    ok: bool
    """False where anything was lost, duplicated or left open, or a fault did not take effect: exit status 1."""
    headline: str
    problems: tuple[str, ...]
    """Why it is not ok."""
    warnings: tuple[str, ...]
    """What limits how far the numbers carry."""
    findings: tuple[ScenarioFinding, ...]
    trade_offs: tuple[PlanTradeOff, ...]
    not_measured: tuple[str, ...]


REPORT_SCHEMA = "prebook.report/1"


class MachineInfo(msgspec.Struct, frozen=True, kw_only=True):
    cores: int
    memory_bytes: int
    python: str
    platform: str


def read_machine() -> MachineInfo:
    return MachineInfo(
        cores=os.cpu_count() or 0,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        python=platform.python_version(),
        platform=platform.platform(),
    )


class ArrivalsLine(msgspec.Struct, frozen=True, kw_only=True):
    process: str
    rate_per_s: float
    duration_s: float
    burst: Mapping[str, float] | None = None


class FaultLine(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    """In the catalogue of faults."""
    kind: str
    target: str
    start_s: float
    duration_s: float


class RideLatencies(msgspec.Struct, frozen=True, kw_only=True):
    """From the intended moment. ``accepted``: until a 201 or 202 had arrived. ``settled`` and ``notified``: until the
    booking settled and its rider was told, of rides that the business answered: a quick failure is no quick outcome."""

    accepted: LatencySummary
    settled: LatencySummary
    notified: LatencySummary


class PlanResult(msgspec.Struct, frozen=True, kw_only=True):
    """One plan in one scenario."""

    label: str
    plan: Mapping[str, Coupling]
    ledger: Ledger
    latency_ms: RideLatencies
    recovery_s: float | None
    errors: Mapping[str, int]
    """What the generator met: ``timeout`` always, then ``connection``, ``unreadable``, ``http_<status>``."""
    accepted: int = 0
    """Rides that booking took in, whoever was told so."""
    settled: int = 0
    """Of those, the ones that came to an end."""
    outcome_hash: str
    """SHA-256 over the sorted (ride, final state, fare in cents): equal where two plans came to the same end."""


class GeneratorLag(msgspec.Struct, frozen=True, kw_only=True):
    """How late requests left; beyond 50 ms at p99 the generator, not the suite, is part of what was measured."""

    lag_ms: LatencySummary
    lagged: bool
    invalid: bool = False
    """It was later than ``max_lag_ms`` at p99: the figures are the generator's, and are not to be used."""
    max_lag_ms: float = 0.0


class RetriesLine(msgspec.Struct, frozen=True, kw_only=True):
    """Riders who were refused, waited as long as they were told, and came again."""

    riders: int
    accepted_on_first_retry: int
    """Who got in at their first return."""
    accepted_on_any_retry: int
    """Or at a later one."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Rides offered and answered per bin, from ``started_at`` on."""

    started_at: datetime
    bin_s: float
    offered: Mapping[str, tuple[int, ...]]
    answered: Mapping[str, tuple[int, ...]]


class ScenarioReport(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    expectation: str
    fault: FaultLine | None
    arrivals: ArrivalsLine
    results: tuple[PlanResult, ...]
    fault_window: FaultWindow | None
    generator: GeneratorLag
    settle_s: float
    """From the last answer to a request until every ride was at rest, or the deadline was over."""
    outcome_hashes_equal: bool
    discrepancies: tuple[Discrepancy, ...]
    timeline: Timeline
    retries: RetriesLine | None = None
    """Where somebody came back."""
    dead_letters_known: bool = False
    """Operations has told which rides have a parked message; else those are in flight."""

    @property
    def is_baseline(self) -> bool:
        """Nothing was broken, and nobody had to come back: its latencies are those of the couplings."""
        return self.fault is None and self.retries is None

    @property
    def totals(self) -> Counter[str]:
        """The ledgers of all plans, added up."""
        total: Counter[str] = Counter()
        for result in self.results:
            total.update(msgspec.structs.asdict(result.ledger))
        return total


class CampaignReport(msgspec.Struct, frozen=True, kw_only=True):
    schema: str = REPORT_SCHEMA
    run_id: str
    """What every Idempotency-Key of the campaign begins with."""
    seed: int
    started_at: datetime
    duration_s: float
    stack: StackInfo
    machine: MachineInfo
    scenarios: tuple[ScenarioReport, ...]
    matrix: tuple[MatrixRow, ...] = ()
    """A row for each fault that was to be measured, whether it could be or not."""
    verdict: CampaignVerdict | None = None
