"""What the person at the terminal sees of a burst."""

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
    said = f"{report.factor:g} x {report.capacity_per_s:.1f} rides/s for {report.duration_s:g} s, seed {report.seed}"
    heads = ("side", "what each link of the chain did")
    return Group(
        grid(said, table.headings(report), table.side_rows(report)),
        grid("by plan, the sides one after the other", table.PLAN_HEADINGS, table.plan_rows(report)),
        grid("from the queue to the rider", heads, table.link_rows(report)),
        Panel(verdict_text(report.verdict), title="verdict", border_style="green" if report.verdict.ok else "red"),
    )


def grid(title: str, headings: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for number, head in enumerate(headings):
        made.add_column(head, justify="left" if not number or number == len(headings) - 1 > 1 else "right")
    for line in lines:
        made.add_row(*line)
    return made


def verdict_text(verdict: BurstVerdict) -> Text:
    text = Text(verdict.headline + "\n", style="bold")
    for check in verdict.checks:
        text.append(f"{check_line(check)}\n", style=f"not bold {STYLES[check.ok] if check.due else NOT_DUE_STYLE}")
    return text


def check_line(check: BurstCheck) -> str:
    return f"{table.check_mark(check)}: back pressure {check.side}, {check.name}: {check.value} ({check.limit})"
