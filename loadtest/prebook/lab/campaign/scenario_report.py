"""From the accounts of one scenario to its part of the report. Pure."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from prebook.lab.campaign.scenarios import Scenario
from prebook.lab.faults import FaultWindow, TimedFault
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.reconciliation import Reconciliation
from prebook.lab.ledger.recovery_time import answered_per_bin, histogram, recovery_s, settled_at, time_to_settle_s
from prebook.lab.load.arrivals import Arrivals
from prebook.lab.load.generator import MAX_LAG_MS
from prebook.lab.load.plans import PLANS
from prebook.lab.quantiles import latency_summary
from prebook.lab.report.matrix import MatrixCell, MatrixRow
from prebook.lab.report.model import (
    ArrivalsLine,
    FaultLine,
    GeneratorLag,
    PlanResult,
    RetriesLine,
    RideLatencies,
    ScenarioReport,
    Timeline,
)

LAG_WARNING_MS = 50.0
"""Lag at p99 from which on the report carries a warning."""
MAX_BINS = 60
"""Bins of the timeline, at most; none is narrower than MIN_BIN_S."""
MIN_BIN_S = 0.5


@dataclass(frozen=True)
class ScenarioRun:
    """A scenario that has been played, as the campaign hands it over."""

    scenario: Scenario
    arrivals: Arrivals
    started_at: datetime
    reconciliation: Reconciliation
    fault_window: FaultWindow | None
    settle_s: float
    dead_letters_known: bool = False
    max_lag_ms: float = MAX_LAG_MS


def scenario_report(run: ScenarioRun) -> ScenarioReport:
    results = tuple(plan_result(label, run.reconciliation, run.fault_window) for label in PLANS)
    return ScenarioReport(
        name=run.scenario.name,
        expectation=run.scenario.expectation,
        fault=fault_line(run.scenario.fault, run.arrivals),
        arrivals=arrivals_line(run.arrivals),
        results=results,
        fault_window=run.fault_window,
        generator=generator_lag(run.reconciliation.accounts, run.max_lag_ms),
        retries=retries_line(run.reconciliation.accounts),
        settle_s=round(run.settle_s, 2),
        outcome_hashes_equal=len({line.outcome_hash for line in results}) == 1,
        discrepancies=run.reconciliation.discrepancies,
        timeline=timeline(run),
        dead_letters_known=run.dead_letters_known,
    )


def plan_result(label: str, reconciliation: Reconciliation, fault_window: FaultWindow | None) -> PlanResult:
    mine = reconciliation.accounts_of(label)
    return PlanResult(
        label=label,
        plan=PLANS[label],
        ledger=reconciliation.ledger_of(label),
        latency_ms=latencies(mine),
        recovery_s=recovery_s(mine, fault_window),
        errors=errors(mine),
        accepted=sum(account.row is not None for account in mine),
        settled=sum(account.settled for account in mine),
        outcome_hash=outcome_hash(mine),
    )


def matrix_row(scenario: ScenarioReport) -> MatrixRow:
    """Of a scenario with a fault that was played."""
    window = scenario.fault_window
    return MatrixRow(
        scenario=scenario.name,
        fault=scenario.fault.name if scenario.fault else "",
        duration_s=round((window.ended_at - window.started_at).total_seconds(), 1) if window else None,
        cells=tuple(map(matrix_cell, scenario.results)),
    )


def matrix_cell(result: PlanResult) -> MatrixCell:
    ledger = result.ledger
    return MatrixCell(
        label=result.label,
        offered=ledger.offered,
        accepted=result.accepted,
        settled=result.settled,
        answered=ledger.answered,
        lost=ledger.lost,
        duplicated=ledger.duplicated,
        recovery_s=result.recovery_s,
    )


def latencies(accounts: Sequence[RideAccount]) -> RideLatencies:
    answered = [account for account in accounts if account.answered]
    return RideLatencies(
        accepted=latency_summary(account.sample.response_ms or 0.0 for account in accounts if account.sample.accepted),
        settled=latency_summary(time_to_settle_s(account) * 1e3 for account in answered),
        notified=latency_summary(
            (told_at - account.sample.intended_at).total_seconds() * 1e3
            for account in answered
            if (told_at := account.notified_at)
        ),
    )


def errors(accounts: Sequence[RideAccount]) -> Mapping[str, int]:
    met = Counter(trouble for account in accounts if (trouble := account.sample.error_kind))
    return {"timeout": met.pop("timeout", 0), **dict(sorted(met.items()))}


def outcome_hash(accounts: Sequence[RideAccount]) -> str:
    """Rides without a row stand in it with their fate, so that a refusal is not taken for agreement."""
    ends = sorted(
        (account.sample.ride, account.row.state.value, account.row.fare_cents)
        if account.row
        else (account.sample.ride, account.outcome.value, None)
        for account in accounts
    )
    return hashlib.sha256(msgspec.json.encode(ends)).hexdigest()


def generator_lag(accounts: Sequence[RideAccount], max_lag_ms: float) -> GeneratorLag:
    lag = latency_summary(account.sample.lag_ms for account in accounts)
    return GeneratorLag(
        lag_ms=lag, lagged=lag.p99 > LAG_WARNING_MS, invalid=lag.p99 > max_lag_ms, max_lag_ms=max_lag_ms
    )


def retries_line(accounts: Sequence[RideAccount]) -> RetriesLine | None:
    """None where nobody came back."""
    back = [account.sample for account in accounts if account.sample.retries]
    if not back:
        return None
    return RetriesLine(
        riders=len(back),
        accepted_on_first_retry=sum(sample.accepted and sample.retries == 1 for sample in back),
        accepted_on_any_retry=sum(sample.accepted for sample in back),
    )


def timeline(run: ScenarioRun) -> Timeline:
    span_s = max(run.arrivals.duration_s, last_settled_s(run))
    bin_s = max(MIN_BIN_S, span_s / MAX_BINS)
    bins = int(span_s / bin_s) + 1
    groups = {label: run.reconciliation.accounts_of(label) for label in PLANS}
    return Timeline(
        started_at=run.started_at,
        bin_s=round(bin_s, 3),
        offered={
            label: histogram((account.sample.intended_at for account in mine), run.started_at, bin_s, bins)
            for label, mine in groups.items()
        },
        answered={label: answered_per_bin(mine, run.started_at, bin_s, bins) for label, mine in groups.items()},
    )


def last_settled_s(run: ScenarioRun) -> float:
    return max(
        ((settled_at(account) - run.started_at).total_seconds() for account in run.reconciliation.accounts), default=0.0
    )


def arrivals_line(arrivals: Arrivals) -> ArrivalsLine:
    burst = arrivals.burst
    return ArrivalsLine(
        process=arrivals.process.value,
        rate_per_s=arrivals.rate_per_s,
        duration_s=arrivals.duration_s,
        burst={
            "start_fraction": burst.start_fraction,
            "duration_fraction": burst.duration_fraction,
            "factor": burst.factor,
        }
        if burst
        else None,
    )


def fault_line(fault: TimedFault | None, arrivals: Arrivals) -> FaultLine | None:
    if fault is None:
        return None
    return FaultLine(
        name=fault.fault.name,
        kind=fault.kind.value,
        target=fault.target,
        start_s=round(fault.start_fraction * arrivals.duration_s, 3),
        duration_s=round(fault.duration_fraction * arrivals.duration_s, 3),
    )
