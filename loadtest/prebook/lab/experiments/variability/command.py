"""`prebook lab coupling`: the variability matrix."""

import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
import rich_click as click

from prebook.devstack.command_line import examples, log_to_stderr, run_interruptible
from prebook.devstack.parameters import DEFAULT_SEED, json_option, report_option, seed_option
from prebook.devstack.terminal import echo
from prebook.lab.exit_status import exit_status_of
from prebook.lab.experiments.console import markdown_table, print_table
from prebook.lab.experiments.variability.catalogue import VARIATIONS
from prebook.lab.experiments.variability.matrix import (
    MatrixRow,
    VariabilityMatrix,
    cell_table,
    reason_table,
    verdict_table,
)
from prebook.lab.experiments.variability.run import MatrixPlan, run_matrix
from prebook.lab.experiments.variability.trial import QUICK, TrialSize
from prebook.lab.experiments.variability.variation import Variation
from prebook.lab.report.writer import prepare_folder, replace_file

FILE_NAME = "variability-matrix.json"
DEFAULT_FOLDER = "reports/coupling"
CHOICES = (*dict.fromkeys(str(variation.dimension) for variation in VARIATIONS), *(each.name for each in VARIATIONS))


@click.command(
    epilog=examples(
        "prebook lab coupling                                       the whole matrix, up to 15 minutes",
        "prebook lab coupling --quick                               a few rows, with fewer rides",
        "prebook lab coupling --only temporal --only format-caller --seed 3",
        "prebook lab coupling --json | jq '.rows[] | {name, verdicts: [.cells[].verdict]}'",
    )
)
@click.option(
    "--only", type=click.Choice(CHOICES), multiple=True, metavar="NAME", help="Only this dimension or row; repeatable."
)
@click.option("--quick", is_flag=True, help="Only the rows of the quick form, or those of --only, with fewer rides.")
@seed_option("Seed of the rides.")
@json_option("Print one prebook.coupling/1 document to stdout, progress to stderr.")
@click.option("--markdown", is_flag=True, help="Print Markdown tables.")
@report_option(DEFAULT_FOLDER, f"Folder for the result, {FILE_NAME}.")
def coupling(*, only: tuple[str, ...], quick: bool, seed: int, as_json: bool, markdown: bool, report_dir: Path) -> None:
    """Change one side of a running flow under load, in every coupling, and count what happens to the rides.

    Each row of the matrix is a dimension of coupling and the side that is changed; each column is a coupling. A cell
    says what the other side notices: nothing (independent), later answers (delayed), unanswered rides (breaks), or that
    it must change as well. Broker, database and services are real, and of the command's own. Exit status 1 if a verdict
    differs from the expected one, or if a cell was not measured.
    """
    prepare_folder(report_dir)
    plan = MatrixPlan(
        select(only, quick=quick), QUICK if quick else TrialSize(), seed, command_text(only, quick=quick, seed=seed)
    )

    async def run() -> int:
        matrix = await run_matrix(plan, log_to_stderr, _log_problems)
        replace_file(report_dir / FILE_NAME, msgspec.json.format(msgspec.json.encode(matrix), indent=2) + b"\n")
        if as_json:
            echo(msgspec.json.encode(matrix))
        else:
            _show(matrix, markdown=markdown)
        return 1 if matrix.problems else 0

    sys.exit(exit_status_of(lambda: run_interruptible(run()), "there is no result"))


def select(only: Collection[str], *, quick: bool) -> Sequence[Variation]:
    """Return the variations that ``only`` names; without names all of them, or those of the quick form."""
    if only:
        return [each for each in VARIATIONS if {each.name, str(each.dimension)} & set(only)]
    return [each for each in VARIATIONS if each.quick or not quick]


def command_text(only: Sequence[str], *, quick: bool, seed: int) -> str:
    """Return the command that repeats a run."""
    words = ["prebook", "lab", "coupling", *(word for name in only for word in ("--only", name))]
    words += ["--quick"] if quick else []
    words += ["--seed", str(seed)] if seed != DEFAULT_SEED else []
    return shlex.join(words)


def _log_problems(row: MatrixRow) -> None:
    for problem in row.problems:
        log_to_stderr(f"NOT AS EXPECTED: {problem}")


def _show(matrix: VariabilityMatrix, *, markdown: bool) -> None:
    for table in (verdict_table(matrix), cell_table(matrix), reason_table(matrix)):
        if markdown:
            echo("\n".join([*markdown_table(table), ""]))
        else:
            print_table(table)
    machine = matrix.machine
    echo(
        f"{matrix.command}, {matrix.started_at:%d %B %Y}, commit {matrix.commit}, seed {matrix.seed}, "
        f"{matrix.seconds:g} s; {machine.cores} cores of {machine.cpu_model}, load over 15 minutes "
        f"{machine.load_average_15min:.1f}; {', '.join(matrix.stack.values())}"
    )
    for problem in matrix.problems:
        echo(f"problem: {problem}")
