"""Results of experiments as text: tables for a terminal, and Markdown for a page."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from prebook.devstack.terminal import PlainConsole
from prebook.lab.experiments.experiment import Experiment, ResultTable
from prebook.lab.experiments.law import LawCheck
from prebook.lab.experiments.result import ExperimentResult, ExperimentStatus

NUMBER = re.compile(r"[-+]?[\d,.]+%?|-")


def laws_table(checks: Sequence[LawCheck]) -> ResultTable:
    """Return the table of all checks, with both sides of each law."""
    return ResultTable(
        title="Laws",
        columns=("law", "arrangement", "left", "", "right", "verdict", "expected"),
        rows=tuple(_law_row(check) for check in checks),
    )


def experiments_table(experiments: Iterable[Experiment[Any]]) -> ResultTable:
    """Return the table of the registry."""
    return ResultTable(
        title="Experiments",
        columns=("name", "section", "claims", "claim"),
        rows=tuple((each.name, str(each.section), ", ".join(each.claims), each.claim) for each in experiments),
    )


def print_table(table: ResultTable) -> None:
    """Print a table to stdout."""
    drawn = Table(title=table.title or None, caption=table.caption or None)
    for number, name in enumerate(table.columns):
        numeric = bool(table.rows) and all(NUMBER.fullmatch(row[number]) for row in table.rows)
        drawn.add_column(name, justify="right" if numeric else "left")
    for row in table.rows:
        drawn.add_row(*row)
    PlainConsole().print(drawn)


def print_result(result: ExperimentResult) -> None:
    """Print a result to stdout: claim, tables, laws with both sides, and the reasons of a failure."""
    console = PlainConsole()
    console.print(f"{result.name} ({', '.join(result.claims)}): {result.claim}")
    for table in result.tables:
        print_table(table)
    for check in result.checks:
        console.print(law_line(check))
    for line in verdict_lines(result):
        console.print(line)


def law_line(check: LawCheck) -> str:
    """Return a check with both sides of its law, as one line of text."""
    mark = "as expected" if check.is_as_expected else "NOT AS EXPECTED"
    sides = f"{check.left} {check.relation} {check.right}"
    doubt = f"; {check.doubt}" if check.doubt else ""
    return f"{check.verdict}, {mark}: {check.arrangement}: {sides} (law: {check.law}{doubt})"


def verdict_lines(result: ExperimentResult) -> list[str]:
    """Return the verdict on a run, what contradicts its expectations, and how to repeat it."""
    remedy = [] if result.status is ExperimentStatus.PASSED else [f"repeat it: {result.command}"]
    return [
        f"{result.status.replace('_', ' ')}; seed {result.seed}; {result.seconds:g} s; commit {result.commit}",
        *(f"problem: {problem}" for problem in result.problems),
        *remedy,
    ]


def to_markdown(result: ExperimentResult) -> list[str]:
    """Return a result as lines of Markdown: command, machine, tables, laws."""
    machine = result.machine
    stack = ", ".join(result.stack.values())
    facts = (
        f"`{result.command}`, {result.started_at:%d %B %Y}, commit `{result.commit}`, {result.seconds:g} s: "
        f"{result.status.replace('_', ' ')}. {machine.cores} cores of {machine.cpu_model}, load over 15 minutes "
        f"{machine.load_average_15min:.1f}; {stack}."
    )
    lines = [facts]
    for table in (*result.tables, laws_table(result.checks)):
        if table.rows:
            lines += ["", *markdown_table(table)]
            lines += ["", table.caption] if table.caption else []
    return lines


def markdown_table(table: ResultTable) -> list[str]:
    """Return a table as lines of Markdown, without its title and caption."""
    rows = (table.columns, ("---",) * len(table.columns), *table.rows)
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]


def _law_row(check: LawCheck) -> tuple[str, ...]:
    mark = "" if check.is_as_expected else " NOT AS EXPECTED"
    sides = (str(check.left), str(check.relation), str(check.right))
    return (check.law, check.arrangement, *sides, str(check.verdict), f"{check.expected}{mark}")
