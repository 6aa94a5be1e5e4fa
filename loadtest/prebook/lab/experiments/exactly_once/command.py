"""`prebook lab exactly-once`: lost and duplicated effects when a producer or consumer crashes."""

import sys
import time
from collections.abc import Sequence

import msgspec
import rich_click as click
from rich.table import Table

from prebook.devstack import command_line
from prebook.devstack.command_line import examples, log_to_stderr
from prebook.devstack.parameters import json_option, seed_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.experiments.exactly_once.crash_matrix import CELLS, ON_OFF
from prebook.lab.experiments.exactly_once.experiment import CrashCellResult, run_cells
from prebook.lab.experiments.testbed import stack_versions, start_testbed

MIN_OPERATIONS = 2
MAX_OPERATIONS = 500
DEFAULT_OPERATIONS = 24
EXAMPLES = examples(
    "prebook lab exactly-once",
    "prebook lab exactly-once --operations 100 --seed 3",
    "prebook lab exactly-once --json | jq '.cells[] | select(.verdict != .expected)'",
)


class ExactlyOnceReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of the experiment, as --json prints it."""

    seed: int
    operations: int
    """Number of operations in each cell."""
    stack: dict[str, str]
    seconds: float
    as_expected: bool
    cells: list[CrashCellResult]
    schema: str = "prebook.exactly_once/1"


@click.command("exactly-once", epilog=EXAMPLES)
@click.option(
    "--operations",
    type=click.IntRange(MIN_OPERATIONS, MAX_OPERATIONS),
    default=DEFAULT_OPERATIONS,
    show_default=True,
    help="Number of operations in each of the 16 cells.",
)
@seed_option("Seed that selects the operation during which the process crashes.")
@json_option()
def exactly_once(*, operations: int, seed: int, as_json: bool) -> None:
    """Crash at each of four points, with and without deduplication and inbox, and count lost and duplicated effects.

    Exit status 1 if a crash did not happen or a verdict differs from the expected one.
    """
    report = command_line.run_interruptible(_run_experiment(operations, seed))
    if as_json:
        echo(msgspec.json.encode(report))
    else:
        PlainConsole().print(_table(report))
    sys.exit(0 if report.as_expected else 1)


async def _run_experiment(operations: int, seed: int) -> ExactlyOnceReport:
    started_at = time.monotonic()
    async with start_testbed() as testbed:
        results = await run_cells(testbed.context, CELLS, operations=operations, seed=seed, log=log_to_stderr)
        return ExactlyOnceReport(
            seed=seed,
            operations=operations,
            stack=stack_versions(testbed.stack),
            seconds=round(time.monotonic() - started_at, 1),
            as_expected=all(result.verdict == result.expected for result in results),
            cells=results,
        )


def _table(report: ExactlyOnceReport) -> Table:
    caption = f"{report.operations} operations and one crash in each cell; seed {report.seed}; {report.seconds:g} s"
    table = Table(title="Exactly once, by crash point", caption=caption)
    for name in ("crash", "producer dedup", "inbox"):
        table.add_column(name)
    for name in ("enqueued", "delivered", "effects", "lost", "duplicated"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("reason", ratio=1)
    for cell in report.cells:
        table.add_row(*_row(cell))
    return table


def _row(result: CrashCellResult) -> Sequence[str]:
    point = result.crash_point.replace("_", " ")
    switches = (ON_OFF[result.producer_dedup], ON_OFF[result.inbox])
    counts = (result.enqueued, result.delivered, result.effects, result.lost, result.duplicated)
    as_expected = result.verdict == result.expected
    reason = result.reason if as_expected else f"NOT AS EXPECTED ({result.expected}): open an issue with the seed"
    return (point, *switches, *map(str, counts), str(result.verdict), reason)
