"""The report of a campaign, computed from its raw results without I/O."""

from collections.abc import Iterator, Mapping, Sequence

from prebook.lab.burst.capacity import capacity
from prebook.lab.campaign.capacity import load_level
from prebook.lab.campaign.raw_results import RawCampaign, RawScenario
from prebook.lab.campaign.scenario_report import ScenarioRun, matrix_row, scenario_report
from prebook.lab.ledger.accounts import sample_with_outcome
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.samples import Sample
from prebook.lab.report.matrix import MatrixRow
from prebook.lab.report.model import CampaignReport, LoadLevel, ScenarioReport
from prebook.lab.report.verdict import with_verdict

MIN_CAPACITY_PER_S = 1.0
"""Capacity in rides per second that is assumed of a suite that settled nothing in time."""


def campaign_report(raw: RawCampaign) -> CampaignReport:
    """Return the report with its verdict."""
    reconciled = list(reconcile_all(raw))
    levels = [load_level(item, reconciliation) for item, reconciliation in reconciled if item.is_capacity_level]
    reports = [
        scenario_report(ScenarioRun(item, reconciliation, capacity_of(item, levels)), raw.auctions)
        for item, reconciliation in reconciled
        if not item.is_capacity_level
    ]
    return with_verdict(
        CampaignReport(
            run_id=raw.run_id,
            seed=raw.seed,
            commit=raw.commit,
            started_at=raw.started_at,
            duration_s=raw.duration_s,
            stack=raw.stack,
            machine=raw.machine,
            scenarios=tuple(reports),
            matrix=tuple(matrix_rows(raw, reports)),
            capacity_levels=tuple(levels),
            skipped={item.name: item.reason for item in raw.unmeasured if not item.fault},
        )
    )


def samples_with_outcome(raw: RawCampaign) -> list[Sample]:
    """Return the samples of all scenarios, completed with outcome and latencies."""
    return [
        sample_with_outcome(account)
        for item, reconciliation in reconcile_all(raw)
        if not item.is_capacity_level
        for account in reconciliation.accounts
    ]


def reconcile_all(raw: RawCampaign) -> Iterator[tuple[RawScenario, Reconciliation]]:
    """Yield each scenario with its accounts. No driver may be booked again in the slot of an earlier scenario."""
    for position, item in enumerate(raw.scenarios):
        reconciliation = reconcile(
            item.samples,
            item.rows,
            item.deliveries,
            dead_lettered=frozenset(item.dead_lettered or ()),
            earlier_rows=[row for earlier in raw.scenarios[:position] for row in earlier.rows],
        )
        yield item, reconciliation


def capacity_of(item: RawScenario, levels: Sequence[LoadLevel]) -> float | None:
    """Return the capacity in rides per second, of which the scenario's rate is a multiple; None if it is not."""
    return best_rate_per_s(levels) if item.capacity_factor else None


def best_rate_per_s(levels: Sequence[LoadLevel]) -> float:
    """Return the rides per second that the suite settles, at least MIN_CAPACITY_PER_S."""
    return max(capacity(levels), MIN_CAPACITY_PER_S)


def matrix_rows(raw: RawCampaign, reports: Sequence[ScenarioReport]) -> Iterator[MatrixRow]:
    """Yield the rows of the failure matrix in the order of the chosen scenarios."""
    by_name: Mapping[str, ScenarioReport] = {report.name: report for report in reports}
    reasons = {item.name: item for item in raw.unmeasured if item.fault}
    for name in raw.scenario_order:
        if name in reasons:
            yield MatrixRow(scenario=name, fault=reasons[name].fault, not_measured_reason=reasons[name].reason)
        elif name in by_name and by_name[name].fault:
            yield matrix_row(by_name[name])
