"""Terminal output of a campaign: a live table, or plain lines without a terminal, and the results."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from prebook.contracts.auctions import OFFER_COLUMNS, OfferCounts, completion_text, offer_rows
from prebook.devstack.terminal import PlainConsole
from prebook.lab.background import run_in_background
from prebook.lab.campaign.progress import CampaignProgress, ScenarioProgress
from prebook.lab.ledger.reconciliation import LEDGER_CLASSES, LEDGER_VIOLATIONS
from prebook.lab.quantiles import LatencySummary, format_ms
from prebook.lab.report.matrix import MatrixCell, MatrixRow, measured_rows, plan_labels
from prebook.lab.report.model import CampaignReport, CampaignVerdict, ScenarioReport

REFRESH_INTERVAL_S = 0.25
PLAIN_INTERVAL_S = 5.0
MATRIX_LEGEND = "accepted / settled / answered of offered; lost / duplicated, recovery time"
COLUMN_NAMES = {"confirmed": "conf.", "rejected": "rej.", "dead_lettered": "dead-lettered", "in_flight": "in flight"}


def show_progress(progress: CampaignProgress, console: PlainConsole) -> AbstractAsyncContextManager[None]:
    """Show progress while the block runs."""
    return run_in_background(show_live(progress, console) if console.is_terminal else print_plain(progress, console))


async def show_live(progress: CampaignProgress, console: PlainConsole) -> None:
    """Refresh a live table until cancelled."""
    with Live(console=console, auto_refresh=False) as screen:
        try:
            while True:
                screen.update(progress_table(progress), refresh=True)
                await asyncio.sleep(REFRESH_INTERVAL_S)
        finally:
            screen.update(progress_table(progress), refresh=True)


async def print_plain(progress: CampaignProgress, console: PlainConsole) -> None:
    """Print a line about the current scenario every PLAIN_INTERVAL_S seconds until cancelled."""
    while True:
        await asyncio.sleep(PLAIN_INTERVAL_S)
        if progress.stages:
            console.print(progress_line(progress.stages[-1], progress.fault_text), highlight=False, soft_wrap=True)


def progress_line(stage: ScenarioProgress, fault: str) -> str:
    """Return the progress of one scenario as one line."""
    counts = stage.counts
    fault_part = f", {fault}" if fault else ""
    return (
        f"{stage.scenario.name}: offered {counts.offered}/{counts.planned}, accepted {counts.accepted}, "
        f"settled {counts.settled}, pending {counts.pending}{fault_part}"
    )


def progress_table(progress: CampaignProgress) -> Table:
    """Return a table of all scenarios started so far."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("scenario", "", "offered", "accepted", "settled", "pending", "fault"):
        table.add_column(head, justify="right" if head in {"offered", "accepted", "settled", "pending"} else "left")
    for stage in progress.stages:
        counts = stage.counts
        fault = progress.fault_text if stage is progress.stages[-1] else ""
        bar = ProgressBar(total=max(counts.planned, 1), completed=counts.at_rest, width=24)
        cells = map(str, (f"{counts.offered}/{counts.planned}", counts.accepted, counts.settled, counts.pending, fault))
        table.add_row(stage.scenario.name, bar, *cells)
    return table


def results(report: CampaignReport) -> Group:
    """Return all tables of the report, the failure matrix and the verdict."""
    tables = [table for scenario in report.scenarios for table in scenario_tables(scenario)]
    grid = [matrix_table(report.matrix)] if report.matrix else []
    return Group(*tables, *grid, *([verdict_panel(report.verdict)] if report.verdict else []))


def scenario_tables(scenario: ScenarioReport) -> list[Table]:
    """Return the tables of one scenario."""
    offers = [offers_table(scenario.offers)] if scenario.offers else []
    return [ledger_table(scenario), times_table(scenario), *offers]


def ledger_table(scenario: ScenarioReport) -> Table:
    """Return the ledger of each plan in a scenario."""
    ids = f"ids: {scenario.name}.PLAN.ledger.COLUMN, .recovery_s, .latency_ms.accepted.p50"
    title = Text.assemble((scenario.name, "bold"), "  ", (scenario.expectation, "dim"), "\n", (ids, "dim"))
    table = plan_table(title, [COLUMN_NAMES.get(name, name) for name in (*LEDGER_CLASSES, *LEDGER_VIOLATIONS)])
    for result in scenario.results:
        ledger = result.ledger
        violations = [violation_text(getattr(ledger, name)) for name in LEDGER_VIOLATIONS]
        table.add_row(result.label, *(str(getattr(ledger, name)) for name in LEDGER_CLASSES), *violations)
    return table


def times_table(scenario: ScenarioReport) -> Table:
    """Return latencies and recovery time of each plan in a scenario."""
    table = plan_table(None, ["accept p50 / p99", "outcome p50 / p99", "rider knows p50 / p99", "recovery"])
    for result in scenario.results:
        latency = result.latency_ms
        recovery = "-" if result.recovery_s is None else f"{result.recovery_s:.1f} s"
        table.add_row(result.label, *map(p50_p99, (latency.accepted, latency.settled, latency.notified)), recovery)
    return table


def offers_table(offers: OfferCounts) -> Table:
    """Return the replies of the partner fleets, by fleet and verdict."""
    table = Table(title=completion_text(offers), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for head in ("fleet", *OFFER_COLUMNS):
        table.add_column(head, justify="left" if head == "fleet" else "right")
    for row in offer_rows(offers):
        table.add_row(*row)
    return table


def matrix_table(rows: Sequence[MatrixRow]) -> Table:
    """Return the failure matrix: a row per fault and a column per plan, with two lines in each cell."""
    ids = "ids: matrix.SCENARIO.PLAN.accepted"
    title = Text.assemble(("failure matrix", "bold"), "  ", (MATRIX_LEGEND, "dim"), "\n", (ids, "dim"))
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    labels = plan_labels(rows)
    for head in ("fault", *labels):
        table.add_column(head, justify="left" if head == "fault" else "right")
    for row in measured_rows(rows):
        fault = f"{row.fault}, {row.duration_s:.1f} s" if row.duration_s is not None else row.fault
        table.add_row(f"{row.scenario}\n{fault}", *map(matrix_cell, row.cells))
    return table


def matrix_cell(cell: MatrixCell) -> Text:
    """Return the two lines of a cell; MATRIX_LEGEND explains them."""
    recovery = "-" if cell.recovery_s is None else f"{cell.recovery_s:.1f} s"
    return Text.assemble(
        f"{cell.accepted} / {cell.settled} / ",
        (str(cell.answered), "green" if cell.all_answered else "yellow"),
        f" of {cell.offered}\n",
        violation_text(cell.lost),
        " / ",
        violation_text(cell.duplicated),
        f", {recovery}",
    )


def plan_table(title: Text | None, heads: list[str]) -> Table:
    """Return an empty table with a column for the plan and one for each head."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("plan", no_wrap=True, min_width=13)
    for head in heads:
        table.add_column(head, justify="right")
    return table


def violation_text(count: int) -> Text:
    """Return a count that should be 0: green if it is, else red."""
    return Text(str(count), style="bold red" if count else "green")


def p50_p99(latency: LatencySummary) -> str:
    """Return median and p99, or a dash if nothing was measured."""
    return f"{format_ms(latency.p50)} / {format_ms(latency.p99)}" if latency.count else "-"


def verdict_panel(verdict: CampaignVerdict) -> Panel:
    """Return the verdict with problems, warnings, findings and trade-offs."""
    text = Text(verdict.headline + "\n", style="bold")
    for line in verdict.problems:
        text.append(f"! {line}\n", style="not bold red")
    for kind, lines in (("not judged", verdict.doubts), ("warning", verdict.warnings)):
        for line in lines:
            text.append(f"! {kind}: {line}\n", style="not bold yellow")
    for finding in verdict.findings:
        text.append(f"{finding.scenario}: {finding.text}\n", style="not bold")
    for line in verdict.not_measured:
        text.append(f"not measured: {line}\n", style="not bold dim")
    text.append("\nAdvantages and costs of each plan\n")
    for line in trade_off_lines(verdict):
        text.append(f"{line}\n", style="not bold")
    return Panel(text, title="verdict", border_style=border_style(verdict))


def border_style(verdict: CampaignVerdict) -> str:
    """Return the colour of the verdict."""
    return "red" if verdict.problems else "yellow" if verdict.doubts else "green"


def trade_off_lines(verdict: CampaignVerdict) -> list[str]:
    """Return one line for each plan."""
    return [
        f"{trade_off.label}: advantages: {'; '.join(trade_off.wins) or 'none'}. "
        f"Costs: {'; '.join(trade_off.costs) or 'none measured'}."
        for trade_off in verdict.trade_offs
    ]
