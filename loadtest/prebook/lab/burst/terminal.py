"""What the person at the terminal sees of a burst."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from prebook.lab.burst import table
from prebook.lab.burst.judge import Check, Judgement, Report

STYLES = {True: "green", False: "bold red", None: "yellow"}
NOT_DUE = "dim"


def results(report: Report) -> Group:
    said = f"{report.factor:g} x {report.capacity_per_s:.1f} rides/s for {report.duration_s:g} s, seed {report.seed}"
    heads = ("side", "what each link of the chain did")
    return Group(
        grid(said, table.heads(report), table.side_by_side(report)),
        grid("by plan, the sides one after the other", table.PLAN_HEADS, table.by_plan(report)),
        grid("from the queue to the rider", heads, table.links(report)),
        Panel(judgement(report.verdict), title="verdict", border_style="green" if report.verdict.ok else "red"),
    )


def grid(title: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for number, head in enumerate(heads):
        made.add_column(head, justify="left" if not number or number == len(heads) - 1 > 1 else "right")
    for line in lines:
        made.add_row(*line)
    return made


def judgement(verdict: Judgement) -> Text:
    text = Text(verdict.headline + "\n", style="bold")
    for check in verdict.checks:
        text.append(f"{line(check)}\n", style=f"not bold {STYLES[check.ok] if check.due else NOT_DUE}")
    return text


def line(check: Check) -> str:
    return f"{table.mark(check)}: back pressure {check.side}, {check.name}: {check.seen} ({check.bound})"
