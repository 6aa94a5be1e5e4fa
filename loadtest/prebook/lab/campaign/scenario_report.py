"""From the accounts of one scenario to its part of the report. Pure."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from prebook.lab.campaign.scenarios import Scenario
from prebook.lab.faults import FaultWindow, Timed
from prebook.lab.ledger.accounts import Account
from prebook.lab.ledger.reconciliation import Reconciliation
from prebook.lab.ledger.recovery_time import completions, histogram, outcome_s, recovery_s, settled_at
from prebook.lab.load.arrivals import Arrivals
from prebook.lab.load.plans import PLANS
from prebook.lab.quantiles import latency
from prebook.lab.report.matrix import Cell, Row
from prebook.lab.report.model import (
    ArrivalsLine,
    FaultLine,
    GeneratorLag,
    Latencies,
    Result,
    ReturnsLine,
    ScenarioReport,
    Timeline,
)

LAGGED_MS, REFUSED_MS = 50.0, 250.0
"""At p99: from the first on it is said, from the second on the result is refused where nothing is broken on purpose."""
BINS = 60
"""Bins of the timeline, at most; none is narrower than NARROWEST_S."""
NARROWEST_S = 0.5


@dataclass(frozen=True)
class Played:
    """A scenario that has been played, as the campaign hands it over."""

    scenario: Scenario
    arrivals: Arrivals
    start: datetime
    books: Reconciliation
    window: FaultWindow | None
    settle_s: float
    parked_known: bool = False
    most_lag_ms: float = REFUSED_MS


def scenario_report(played: Played) -> ScenarioReport:
    results = tuple(result(label, played.books, played.window) for label in PLANS)
    return ScenarioReport(
        name=played.scenario.name,
        expect=played.scenario.expect,
        fault=fault_line(played.scenario.fault, played.arrivals),
        arrivals=arrivals_line(played.arrivals),
        results=results,
        fault_window=played.window,
        generator=generator_lag(played.books.accounts, played.most_lag_ms),
        returns=returns_line(played.books.accounts),
        settle_s=round(played.settle_s, 2),
        outcome_hashes_equal=len({line.outcome_hash for line in results}) == 1,
        discrepancies=played.books.discrepancies,
        timeline=timeline(played),
        parked_known=played.parked_known,
    )


def result(label: str, books: Reconciliation, window: FaultWindow | None) -> Result:
    mine = books.of(label)
    return Result(
        label=label,
        plan=PLANS[label],
        ledger=books.ledger(label),
        latency_ms=latencies(mine),
        recovery_s=recovery_s(mine, window),
        errors=errors(mine),
        accepted=sum(account.row is not None for account in mine),
        settled=sum(account.settled for account in mine),
        outcome_hash=outcome_hash(mine),
    )


def matrix_row(scenario: ScenarioReport) -> Row:
    """Of a scenario with a fault that was played."""
    window = scenario.fault_window
    return Row(
        scenario=scenario.name,
        fault=scenario.fault.name if scenario.fault else "",
        lasted_s=round((window.ended_at - window.started_at).total_seconds(), 1) if window else None,
        cells=tuple(map(cell, scenario.results)),
    )


def cell(result: Result) -> Cell:
    ledger = result.ledger
    return Cell(
        label=result.label,
        offered=ledger.offered,
        accepted=result.accepted,
        settled=result.settled,
        answered=ledger.answered,
        lost=ledger.lost,
        doubled=ledger.duplicated_effects,
        recovery_s=result.recovery_s,
    )


def latencies(accounts: Sequence[Account]) -> Latencies:
    answered = [account for account in accounts if account.answered]
    return Latencies(
        accept=latency(account.sample.accept_ms or 0.0 for account in accounts if account.sample.accepted),
        outcome=latency(outcome_s(account) * 1e3 for account in answered),
        notified=latency(
            (told_at - account.sample.intended_at).total_seconds() * 1e3
            for account in answered
            if (told_at := account.told_at)
        ),
    )


def errors(accounts: Sequence[Account]) -> Mapping[str, int]:
    met = Counter(trouble for account in accounts if (trouble := account.sample.trouble))
    return {"timeout": met.pop("timeout", 0), **dict(sorted(met.items()))}


def outcome_hash(accounts: Sequence[Account]) -> str:
    """Rides without a row stand in it with their fate, so that a refusal is not taken for agreement."""
    ends = sorted(
        (account.sample.ride, account.row.state.value, account.row.fare_cents)
        if account.row
        else (account.sample.ride, account.fate.value, None)
        for account in accounts
    )
    return hashlib.sha256(msgspec.json.encode(ends)).hexdigest()


def generator_lag(accounts: Sequence[Account], most_ms: float) -> GeneratorLag:
    lag = latency(account.sample.lag_ms for account in accounts)
    return GeneratorLag(lag_ms=lag, lagged=lag.p99 > LAGGED_MS, refused=lag.p99 > most_ms, most_ms=most_ms)


def returns_line(accounts: Sequence[Account]) -> ReturnsLine | None:
    """None where nobody came back."""
    back = [account.sample for account in accounts if account.sample.returns]
    if not back:
        return None
    return ReturnsLine(
        riders=len(back),
        at_once=sum(sample.accepted and sample.returns == 1 for sample in back),
        at_last=sum(sample.accepted for sample in back),
    )


def timeline(played: Played) -> Timeline:
    span_s = max(played.arrivals.duration_s, last_outcome_s(played))
    bin_s = max(NARROWEST_S, span_s / BINS)
    bins = int(span_s / bin_s) + 1
    groups = {label: played.books.of(label) for label in PLANS}
    return Timeline(
        start=played.start,
        bin_s=round(bin_s, 3),
        offered={
            label: histogram((account.sample.intended_at for account in mine), played.start, bin_s, bins)
            for label, mine in groups.items()
        },
        completed={label: completions(mine, played.start, bin_s, bins) for label, mine in groups.items()},
    )


def last_outcome_s(played: Played) -> float:
    return max(((settled_at(account) - played.start).total_seconds() for account in played.books.accounts), default=0.0)


def arrivals_line(arrivals: Arrivals) -> ArrivalsLine:
    burst = arrivals.burst
    return ArrivalsLine(
        process=arrivals.process.value,
        rate_per_s=arrivals.rate_per_s,
        duration_s=arrivals.duration_s,
        burst={"starts": burst.starts, "lasts": burst.lasts, "factor": burst.factor} if burst else None,
    )


def fault_line(fault: Timed | None, arrivals: Arrivals) -> FaultLine | None:
    if fault is None:
        return None
    return FaultLine(
        name=fault.fault.name,
        kind=fault.kind.value,
        target=fault.target,
        starts_s=round(fault.starts * arrivals.duration_s, 3),
        lasts_s=round(fault.lasts * arrivals.duration_s, 3),
    )
