"""Section of the report for one scenario, computed from its accounts without I/O."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from prebook.contracts.auctions import AuctionEntry, OfferCounts, count_offers
from prebook.lab.burst.capacity import count_answered
from prebook.lab.campaign.raw_results import RawScenario
from prebook.lab.campaign.traffic import traffic_line
from prebook.lab.campaign.unexplained_ends import find_unexplained_ends
from prebook.lab.faults import FAULT_CATALOGUE, FaultWindow
from prebook.lab.ledger.accounts import RideAccount
from prebook.lab.ledger.clock_deviation import clock_deviation_s
from prebook.lab.ledger.discrepancies import wrong_booking_id
from prebook.lab.ledger.reconciliation import Reconciliation
from prebook.lab.ledger.recovery_time import (
    answered_per_bin,
    histogram,
    outcome_medians_ms,
    recovery_s,
    settled_at,
    time_to_settle_s,
)
from prebook.lab.load.plans import PLANS
from prebook.lab.quantiles import latency_summary
from prebook.lab.report.matrix import MatrixCell, MatrixRow
from prebook.lab.report.model import (
    CorrelationLine,
    GeneratorLag,
    OverloadLine,
    PlanResult,
    RetriesLine,
    RideLatencies,
    ScenarioReport,
    Timeline,
)

LAG_WARNING_MS = 50.0
"""p99 lag above which the report carries a warning."""
MAX_BINS = 60
"""Largest number of bins in a timeline."""
MIN_BIN_S = 0.5
"""Smallest width of a bin in seconds."""


@dataclass(frozen=True)
class ScenarioRun:
    """Raw result of a scenario with the accounts of its rides."""

    raw: RawScenario
    reconciliation: Reconciliation
    capacity_per_s: float | None = None
    """Rides per second that the suite settles, of which the offered rate is a multiple; None if it is not."""


def scenario_report(run: ScenarioRun, auctions: Sequence[AuctionEntry] | None = None) -> ScenarioReport:
    """Return the report of one scenario. ``auctions``: those of all scenarios; None if they are unknown."""
    reconciliation = with_unexplained_ends(run)
    results = tuple(plan_result(label, reconciliation, run.raw.fault_window) for label in PLANS)
    return ScenarioReport(
        name=run.raw.name,
        expectation=run.raw.expectation,
        fault=run.raw.fault,
        arrivals=run.raw.arrivals,
        results=results,
        fault_window=run.raw.fault_window,
        generator=generator_lag(run.reconciliation.accounts, run.raw.max_lag_ms),
        clock_deviation_s=round(clock_deviation_s(run.reconciliation.accounts), 3),
        retries=retries_line(run.reconciliation.accounts),
        settle_s=round(run.raw.settle_s, 2),
        outcome_hashes_equal=len({line.outcome_hash for line in results}) == 1,
        discrepancies=reconciliation.discrepancies,
        timeline=timeline(run),
        dead_letters_known=run.raw.dead_lettered is not None,
        outage_is_bridged=run.raw.outage_is_bridged,
        overload=overload_line(run),
        traffic=traffic_line(run.raw),
        correlation=correlation_line(run),
        offers=None if auctions is None else offers_of(run.reconciliation, auctions),
    )


def with_unexplained_ends(run: ScenarioRun) -> Reconciliation:
    """Return the reconciliation with its unexplained ends among the discrepancies.

    Without back pressure every ride is admitted, so that an overload ends rides as a fault does.
    """
    if not run.raw.back_pressure:
        return run.reconciliation
    fault = FAULT_CATALOGUE[run.raw.fault.name] if run.raw.fault else None
    found = find_unexplained_ends(run.reconciliation.accounts, fault, run.raw.fault_window)
    return replace(run.reconciliation, discrepancies=(*run.reconciliation.discrepancies, *found))


def offers_of(reconciliation: Reconciliation, auctions: Sequence[AuctionEntry]) -> OfferCounts:
    """Return what became of the replies of the partner fleets to the rides of a scenario."""
    bookings = {row.booking_id for row in reconciliation.rows}
    return count_offers([auction for auction in auctions if auction.booking_id in bookings])


def plan_result(label: str, reconciliation: Reconciliation, fault_window: FaultWindow | None) -> PlanResult:
    """Return the figures of the plan ``label`` in one scenario."""
    accounts = reconciliation.accounts_of(label)
    return PlanResult(
        label=label,
        plan=PLANS[label],
        ledger=reconciliation.ledger_of(label),
        latency_ms=latencies(accounts),
        recovery_s=recovery_s(accounts, fault_window),
        errors=errors(accounts),
        accepted=sum(account.row is not None for account in accounts),
        settled=sum(account.settled for account in accounts),
        outcome_hash=outcome_hash(accounts),
    )


def matrix_row(scenario: ScenarioReport) -> MatrixRow:
    """Return the row of the failure matrix for a scenario with a fault."""
    window = scenario.fault_window
    return MatrixRow(
        scenario=scenario.name,
        fault=scenario.fault.name if scenario.fault else "",
        duration_s=round((window.ended_at - window.started_at).total_seconds(), 1) if window else None,
        cells=tuple(map(matrix_cell, scenario.results)),
    )


def matrix_cell(result: PlanResult) -> MatrixCell:
    """Return the cell of the failure matrix for one plan."""
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
    """Return the three latencies: acceptance of all accepted rides, settlement and notice of answered ones."""
    answered = [account for account in accounts if account.answered]
    return RideLatencies(
        accepted=latency_summary(account.sample.response_ms or 0.0 for account in accounts if account.sample.accepted),
        settled=latency_summary(time_to_settle_s(account) * 1e3 for account in answered),
        notified=latency_summary(
            (notified_at - account.sample.intended_at).total_seconds() * 1e3
            for account in answered
            if (notified_at := account.notified_at)
        ),
    )


def errors(accounts: Sequence[RideAccount]) -> Mapping[str, int]:
    """Return error kind -> count; ``timeout`` is always present and comes first."""
    counts = Counter(kind for account in accounts if (kind := account.sample.error_kind))
    return {"timeout": counts.pop("timeout", 0), **dict(sorted(counts.items()))}


def outcome_hash(accounts: Sequence[RideAccount]) -> str:
    """Return SHA-256 over ride, final state and fare of all rides, sorted by ride.

    A ride without a booking contributes its outcome, so that a refusal does not count as agreement between plans.
    """
    outcomes = sorted(
        (account.sample.ride, account.row.state.value, account.row.fare_cents)
        if account.row
        else (account.sample.ride, account.outcome.value, None)
        for account in accounts
    )
    return hashlib.sha256(msgspec.json.encode(outcomes)).hexdigest()


def generator_lag(accounts: Sequence[RideAccount], max_lag_ms: float) -> GeneratorLag:
    """Return the lag of the load generator, judged by LAG_WARNING_MS and ``max_lag_ms``."""
    lag = latency_summary(account.sample.lag_ms for account in accounts)
    return GeneratorLag(
        lag_ms=lag, lagged=lag.p99 > LAG_WARNING_MS, invalid=lag.p99 > max_lag_ms, max_lag_ms=max_lag_ms
    )


def retries_line(accounts: Sequence[RideAccount]) -> RetriesLine | None:
    """Return how many riders retried and were accepted, or None if no rider retried."""
    retried = [account.sample for account in accounts if account.sample.retries]
    if not retried:
        return None
    return RetriesLine(
        riders=len(retried),
        accepted_on_first_retry=sum(sample.accepted and sample.retries == 1 for sample in retried),
        accepted_on_any_retry=sum(sample.accepted for sample in retried),
    )


def overload_line(run: ScenarioRun) -> OverloadLine | None:
    """Return the refusals of an overload, or None if the rate is not a multiple of the capacity."""
    if run.capacity_per_s is None:
        return None
    refusals = [refusal for account in run.reconciliation.accounts for refusal in account.sample.refusals]
    return OverloadLine(
        capacity_per_s=run.capacity_per_s,
        factor=run.raw.capacity_factor or 0.0,
        back_pressure=run.raw.back_pressure,
        refusals=len(refusals),
        refusals_without_retry_after=sum(refusal.retry_after_s is None for refusal in refusals),
        goodput_per_s={label: goodput_per_s(run, label) for label in PLANS},
    )


def goodput_per_s(run: ScenarioRun, label: str) -> float:
    """Return the rides of a plan that were answered per second while rides arrived."""
    duration_s = run.raw.arrivals.duration_s
    answered = count_answered(run.reconciliation.accounts_of(label), run.raw.started_at, 0.0, duration_s)
    return round(answered / duration_s, 2)


def correlation_line(run: ScenarioRun) -> CorrelationLine | None:
    """Return how many fares and responses belong to another ride; None with a fault or an overload.

    All plans offer the same rides, so that a fare that reached another ride differs from that of the other plans.
    """
    if run.raw.fault or run.raw.capacity_factor:
        return None
    by_ride: dict[int, list[tuple[RideAccount, int]]] = {}
    for account in run.reconciliation.accounts:
        if account.row and account.row.fare_cents is not None:
            by_ride.setdefault(account.sample.ride, []).append((account, account.row.fare_cents))
    compared = [own for own in by_ride.values() if len(own) > 1]
    wrong = 0
    for own in compared:
        usual_fare = Counter(fare for _, fare in own).most_common(1)[0][0]
        wrong += sum(fare != usual_fare or wrong_booking_id(account) is not None for account, fare in own)
    return CorrelationLine(replies=sum(map(len, compared)), miscorrelated=wrong)


def timeline(run: ScenarioRun) -> Timeline:
    """Return offered and answered rides per plan over time, until the last settled ride."""
    span_s = max(run.raw.arrivals.duration_s, last_settled_s(run))
    bin_s = max(MIN_BIN_S, span_s / MAX_BINS)
    bins = int(span_s / bin_s) + 1
    accounts_by_plan = {label: run.reconciliation.accounts_of(label) for label in PLANS}
    return Timeline(
        started_at=run.raw.started_at,
        bin_s=round(bin_s, 3),
        offered={
            label: histogram((account.sample.intended_at for account in accounts), run.raw.started_at, bin_s, bins)
            for label, accounts in accounts_by_plan.items()
        },
        answered={
            label: answered_per_bin(accounts, run.raw.started_at, bin_s, bins)
            for label, accounts in accounts_by_plan.items()
        },
        outcome_ms={
            label: outcome_medians_ms(accounts, run.raw.started_at, bin_s, bins)
            for label, accounts in accounts_by_plan.items()
        },
    )


def last_settled_s(run: ScenarioRun) -> float:
    """Return when the last ride was settled, in seconds from the start of the scenario."""
    accounts = run.reconciliation.accounts
    return max(((settled_at(account) - run.raw.started_at).total_seconds() for account in accounts), default=0.0)
