"""The campaign report ``prebook.report/1``. Its format is a contract, see ``assets/report.schema.json``."""

import os
import platform
from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import msgspec

from prebook.contracts.auctions import OfferCounts
from prebook.contracts.plan import Coupling
from prebook.lab.faults import FaultWindow
from prebook.lab.ledger.discrepancies import Discrepancy
from prebook.lab.ledger.reconciliation import Ledger
from prebook.lab.quantiles import LatencySummary
from prebook.lab.report.matrix import MatrixRow
from prebook.lab.suite_client.settings import StackInfo


class ScenarioFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A conclusion about one scenario, or about the failure matrix, as a sentence."""

    scenario: str
    text: str


class PlanTradeOff(msgspec.Struct, frozen=True, kw_only=True):
    """Advantages and costs of one plan in this run."""

    label: str
    wins: tuple[str, ...]
    costs: tuple[str, ...]


class CampaignVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Conclusions from all numbers of the report."""

    ok: bool
    """Whether there is neither a problem nor a doubt."""
    headline: str
    problems: tuple[str, ...]
    """Failures: a ride was lost, duplicated or left open, a law was violated, or a fault had no effect."""
    doubts: tuple[str, ...] = ()
    """Reasons why the figures cannot be judged: the machine was too busy. They say nothing about the suite."""
    warnings: tuple[str, ...]
    """Limits of the validity of the numbers."""
    findings: tuple[ScenarioFinding, ...]
    trade_offs: tuple[PlanTradeOff, ...]
    not_measured: tuple[str, ...]


REPORT_SCHEMA = "prebook.report/1"


class MachineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The machine of the load generator."""

    cores: int
    memory_bytes: int
    python: str
    platform: str


def read_machine() -> MachineInfo:
    """Return the machine on which this process runs."""
    return MachineInfo(
        cores=os.cpu_count() or 0,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        python=platform.python_version(),
        platform=platform.platform(),
    )


class ArrivalsLine(msgspec.Struct, frozen=True, kw_only=True):
    """Arrivals of a scenario; the burst's times are fractions of the duration."""

    process: str
    rate_per_s: float
    duration_s: float
    burst: Mapping[str, float] | None = None


class FaultLine(msgspec.Struct, frozen=True, kw_only=True):
    """Planned fault of a scenario, in seconds from the first arrival."""

    name: str = ""
    """Name in the catalogue of faults."""
    kind: str
    target: str
    start_s: float
    duration_s: float


class RideLatencies(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies in milliseconds from the intended time of a request.

    ``accepted`` ends with the response 201 or 202; ``settled`` and ``notified`` end when the booking is settled and its
    rider is notified. The last two cover answered rides only: a fast failure is no fast outcome.
    """

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
    """Failed requests by kind: ``timeout`` always, then ``connection``, ``unreadable``, ``out_of_descriptors`` and
    ``http_<status>``."""
    accepted: int = 0
    """Rides that booking stored, whether or not the rider got the response."""
    settled: int = 0
    """Accepted rides whose outcome is known."""
    outcome_hash: str
    """SHA-256 over the sorted (ride, final state, fare in cents); equal if two plans reached the same outcomes."""


class GeneratorLag(msgspec.Struct, frozen=True, kw_only=True):
    """Lag of the load generator; with a p99 above 50 ms its own delay distorts the latencies."""

    lag_ms: LatencySummary
    lagged: bool
    invalid: bool = False
    """Whether the p99 lag exceeds ``max_lag_ms``, which makes the figures unusable."""
    max_lag_ms: float = 0.0


class RetriesLine(msgspec.Struct, frozen=True, kw_only=True):
    """Refused riders who retried after the time in ``Retry-After``."""

    riders: int
    accepted_on_first_retry: int
    """Riders accepted on their first retry."""
    accepted_on_any_retry: int
    """Riders accepted on the first or a later retry."""


class LoadLevel(msgspec.Struct, frozen=True, kw_only=True):
    """One constant rate of a search for the capacity, with the rate of settled rides that it led to."""

    offered_per_s: float
    settled_per_s: float
    duration_s: float


class OverloadLine(msgspec.Struct, frozen=True, kw_only=True):
    """An overload, and what the suite did with the riders beyond its capacity."""

    capacity_per_s: float
    """Rides per second that the suite settles, as measured before."""
    factor: float
    """Offered rate as a multiple of the capacity."""
    back_pressure: bool
    refusals: int
    """Responses 429 and 503, repeated attempts included."""
    refusals_without_retry_after: int
    goodput_per_s: Mapping[str, float] = msgspec.field(default_factory=dict)
    """Label -> rides answered per second while rides arrived."""


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Offered and answered rides per plan and bin of ``bin_s`` seconds, from ``started_at`` on."""

    started_at: datetime
    bin_s: float
    offered: Mapping[str, tuple[int, ...]]
    answered: Mapping[str, tuple[int, ...]]
    outcome_ms: Mapping[str, tuple[float | None, ...]] = msgspec.field(default_factory=dict)
    """Median time to outcome of the answered rides that were offered in a bin; null without one."""


class CouplingTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of a ride whose flows all use one coupling. A reply by ``async_api`` is a callback."""

    requests: float
    replies: float


class HopLine(msgspec.Struct, frozen=True, kw_only=True):
    """Time of the synchronous calls of one flow, in milliseconds."""

    calls: int
    mean_ms: float
    p99_at_most_ms: float
    """Upper end of the histogram's bucket with the p99; 0.0 if it has none."""


class TrafficLine(msgspec.Struct, frozen=True, kw_only=True):
    """Messages for one ride by coupling, and the hops of a synchronous ride."""

    couplings: Mapping[str, CouplingTraffic]
    sync_hops: Mapping[str, HopLine]
    """Flow -> its calls, of flows that follow one another."""


class CorrelationLine(msgspec.Struct, frozen=True, kw_only=True):
    """Replies that reached another ride than the one they were meant for, in a scenario without a fault."""

    replies: int
    """Confirmed rides whose fare is known under another plan, too."""
    miscorrelated: int
    """Those with another fare than the same ride has under most plans, or whose response named another booking."""


class ScenarioReport(msgspec.Struct, frozen=True, kw_only=True):
    """Results of all plans in one scenario."""

    name: str
    expectation: str
    fault: FaultLine | None
    arrivals: ArrivalsLine
    results: tuple[PlanResult, ...]
    fault_window: FaultWindow | None
    generator: GeneratorLag
    clock_deviation_s: float = 0.0
    """Largest contradiction between the load generator's clock and the services' clocks, in seconds."""
    settle_s: float
    """Seconds from the last response until every ride was at rest, or until the time limit."""
    outcome_hashes_equal: bool
    discrepancies: tuple[Discrepancy, ...]
    timeline: Timeline
    retries: RetriesLine | None = None
    """None if no rider retried."""
    dead_letters_known: bool = False
    """Whether operations listed the parked messages; if not, dead-lettered rides count as in flight."""
    outage_is_bridged: bool = False
    """Whether the fault takes its target away for less than the deadlines, so that plans that wait for it must accept
    and answer every ride."""
    overload: OverloadLine | None = None
    """None if the offered rate is not a multiple of the capacity."""
    traffic: TrafficLine | None = None
    """None with a fault, or if the services' metrics could not be read."""
    correlation: CorrelationLine | None = None
    """None with a fault, which may change fares."""
    offers: OfferCounts | None = None
    """Replies of the partner fleets to the auctions of the rides; None if the address of matching is unknown."""

    @property
    def is_baseline(self) -> bool:
        """Whether there was no fault, overload or retry, so that the latencies are those of the couplings."""
        return self.fault is None and self.overload is None and self.retries is None

    @property
    def totals(self) -> Counter[str]:
        """Sum of the ledgers of all plans, by field."""
        total: Counter[str] = Counter()
        for result in self.results:
            total.update(msgspec.structs.asdict(result.ledger))
        return total


class CampaignReport(msgspec.Struct, frozen=True, kw_only=True):
    """Report of a whole campaign."""

    schema: str = REPORT_SCHEMA
    run_id: str
    """Prefix of every Idempotency-Key of the campaign."""
    seed: int
    commit: str = ""
    """Commit of the lab that ran the campaign, with ``+`` if files differed from it."""
    started_at: datetime
    duration_s: float
    stack: StackInfo
    machine: MachineInfo
    scenarios: tuple[ScenarioReport, ...]
    matrix: tuple[MatrixRow, ...] = ()
    """One row for each chosen fault, including those that could not be measured."""
    capacity_levels: tuple[LoadLevel, ...] = ()
    """Levels of the search for the capacity; empty if no scenario needs it."""
    skipped: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Scenario without a fault that could not run -> reason. A fault that could not be injected is in ``matrix``."""
    verdict: CampaignVerdict | None = None
