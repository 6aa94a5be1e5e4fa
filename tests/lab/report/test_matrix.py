"""The failure matrix has a cell for each plan and fault, and a reason for each fault that was not measured."""

from io import StringIO

import msgspec
import pytest
from rich.console import Console

from prebook.lab.campaign import terminal
from prebook.lab.campaign.scenario_report import matrix_row
from prebook.lab.campaign.scenarios import ALL_SCENARIOS, DEFAULT_DURATION_S, QUICK_DURATION_S, select_scenarios
from prebook.lab.ledger.reconciliation import Ledger
from prebook.lab.report import html
from prebook.lab.report.matrix import MatrixCell, MatrixRow, cells_by_plan, plan_labels
from prebook.lab.report.model import CampaignReport
from prebook.lab.report.verdict import matrix_findings, verdict
from prebook.lab.suite_client.services import SuiteUnreachable
from tests.lab.campaign.campaign_runs import run_campaign
from tests.lab.report.results import result, scenario
from tests.lab.report.schema import schema_errors
from tests.lab.stub_suite import StubSuite

REASON = "the supervisor did not start the broker itself"


def cell(label: str, answered: int, recovery_s: float | None = 1.0, **violations: int) -> MatrixCell:
    counts = {
        "offered": 10,
        "accepted": answered,
        "settled": answered,
        "answered": answered,
        "lost": 0,
        "duplicated": 0,
    }
    return MatrixCell(label=label, recovery_s=recovery_s, **{**counts, **violations})


ROWS = (
    MatrixRow(scenario="pricing_down", fault="kill_pricing", cells=(cell("sync_api", 6), cell("one_way", 10, 3.5))),
    MatrixRow(scenario="broker_restart", fault="broker_restart", not_measured_reason=REASON),
    MatrixRow(
        scenario="memory_alarm", fault="memory_alarm", cells=(cell("sync_api", 10, None), cell("one_way", 10, 0.0))
    ),
)


def test_a_cell_counts_accepted_settled_and_answered_rides() -> None:
    short = Ledger(offered=40, confirmed=28, rejected=2, refused=7, failed=3)
    sync = msgspec.structs.replace(result("sync_api", ledger=short), accepted=33, settled=33)
    row = matrix_row(scenario(sync, result("one_way", recovery_s=2.5), fault=True))
    first, second = row.cells
    assert (first.offered, first.accepted, first.settled, first.answered, first.all_answered) == (40, 33, 33, 30, False)
    assert (second.answered, second.all_answered, second.recovery_s) == (40, True, 2.5)
    assert row.duration_s == 1.0


def test_an_unmeasured_fault_has_no_cells_and_is_not_counted() -> None:
    assert plan_labels(ROWS) == ["sync_api", "one_way"]
    assert {label: len(cells) for label, cells in cells_by_plan(ROWS).items()} == {"sync_api": 2, "one_way": 2}


def test_each_plan_has_a_finding_over_all_faults() -> None:
    sync, one_way = matrix_findings(ROWS)
    assert sync.startswith("sync_api left 4 of 20 rides unanswered, in pricing_down")
    assert "1.0 s" in sync
    assert one_way.startswith("one_way answered all 20 rides under every fault")
    assert "3.5 s after the end of the fault (pricing_down)" in one_way


def test_the_verdict_includes_the_matrix() -> None:
    outcome = verdict([scenario(result("one_way"), fault=True)], ROWS)
    assert [finding.text for finding in outcome.findings if finding.scenario == "all faults"] == list(
        matrix_findings(ROWS)
    )
    assert f"broker_restart: {REASON}" in outcome.not_measured
    assert outcome.ok, "a fault that cannot be injected is no failure"


def printed_text(report: CampaignReport) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(terminal.results(report))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


async def test_a_campaign_fills_the_matrix_and_names_unavailable_faults() -> None:
    """The stub's supervisor runs pricing and no broker."""
    report = await run_campaign(StubSuite(), "calm", "pricing_down", "broker_restart")
    assert [each.name for each in report.scenarios] == ["calm", "pricing_down"]
    down, restart = report.matrix
    assert [each.label for each in down.cells] == [each.label for each in report.scenarios[0].results]
    assert not restart.cells
    assert restart.not_measured_reason
    assert not schema_errors(msgspec.json.encode(report))
    assert report.verdict is not None
    assert any(line.startswith("broker_restart: ") for line in report.verdict.not_measured)
    page = html.page(report)
    text = printed_text(report)
    assert f"not measured: {restart.not_measured_reason}" in page.replace("&#x27;", "'")
    assert "failure matrix" in text
    assert "not measured: broker_restart" in text


async def test_a_campaign_without_an_available_scenario_names_the_reason() -> None:
    with pytest.raises(
        SuiteUnreachable, match="none of the chosen scenarios can run against this suite: broker_restart: "
    ):
        await run_campaign(StubSuite(), "broker_restart")


async def test_dead_lettered_rides_are_unknown_without_operations() -> None:
    report = await run_campaign(StubSuite(), "calm")
    assert report.verdict is not None
    assert not report.scenarios[0].dead_letters_known
    assert any("operations does not run in this suite" in line for line in report.verdict.not_measured)


def test_quick_and_full_campaigns_stay_within_their_time_limits() -> None:
    """The bounds cover arrivals alone, without starts and waits for open rides."""
    quick = select_scenarios((), quick=True)
    full = select_scenarios((), quick=False)
    assert full == ALL_SCENARIOS
    assert {each.name for each in quick} >= {"calm", "pricing_down", "matching_paused", "connections_cut"}
    assert sum(each.duration_factor for each in quick) * QUICK_DURATION_S < 30
    assert sum(each.duration_factor for each in full) * DEFAULT_DURATION_S < 230
    assert [each.name for each in select_scenarios(("memory_alarm",), quick=True)] == ["memory_alarm"]
