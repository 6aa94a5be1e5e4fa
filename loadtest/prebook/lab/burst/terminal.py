"""Terminal output of a burst comparison."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from prebook.lab.burst import table
from prebook.lab.burst.judge import BurstCheck, BurstReport, BurstVerdict

STYLES = {True: "green", False: "bold red", None: "yellow"}
NOT_DUE_STYLE = "dim"


def results_view(report: BurstReport) -> Group:
    """Return figures, plans, links of the back pressure chain and the verdict, to be printed."""
    load = f"{report.factor:g} x {report.capacity_per_s:.1f} rides/s for {report.duration_s:g} s, seed {report.seed}"
    return Group(
        grid(load, table.headings(report), table.side_rows(report)),
        grid("by plan, sides separated by |", table.PLAN_HEADINGS, table.plan_rows(report)),
        grid("back pressure from the queue to the rider", table.LINK_HEADINGS, table.link_rows(report)),
        Panel(verdict_text(report.verdict), title="verdict", border_style="green" if report.verdict.ok else "red"),
    )


def grid(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table whose first column, and last one of at least three, are left-aligned."""
    view = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for index, heading in enumerate(headings):
        view.add_column(heading, justify="left" if not index or index == len(headings) - 1 > 1 else "right")
    for row in rows:
        view.add_row(*row)
    return view


def verdict_text(verdict: BurstVerdict) -> Text:
    """Return the headline and one coloured line per check."""
    text = Text(verdict.headline + "\n", style="bold")
    for check in verdict.checks:
        text.append(f"{check_line(check)}\n", style=f"not bold {STYLES[check.ok] if check.due else NOT_DUE_STYLE}")
    return text


def check_line(check: BurstCheck) -> str:
    """Return result, side, name, value and limit of ``check`` in one line."""
    return f"{table.check_mark(check)}: back pressure {check.side}, {check.name}: {check.value} ({check.limit})"
