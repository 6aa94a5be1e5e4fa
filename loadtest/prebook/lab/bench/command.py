"""`prebook bench`: parts of the suite compared with baselines that do the least possible."""

import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import rich_click as click
from rich.table import Table

from prebook.contracts.plan import Coupling
from prebook.devstack.command_line import examples, log_to_stderr, run_interruptible
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import FiniteRange, json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.bench.options import OPTIONS, BenchOptions
from prebook.lab.bench.rows import BenchRow, failed_row
from prebook.lab.bench.subjects import (
    accept,
    consume,
    http,
    latency,
    linearity,
    patterns,
    prefetch,
    publisher,
    relay,
    ride,
    rpc,
    scaling,
    soak,
)
from prebook.lab.bench.testbed import BenchTestbed, start_testbed
from prebook.messaging.errors import error_summary

Subject = Callable[[BenchTestbed, int], Awaitable[list[BenchRow]]]
"""Measures one part of the suite on a testbed, in a number of rounds."""
SUBJECTS: Mapping[str, Subject] = {
    "relay": relay.measure,
    "publisher": publisher.measure,
    "latency": latency.measure,
    "rpc": rpc.measure,
    "consume": consume.measure,
    "prefetch": prefetch.measure,
    "http": http.measure,
    "accept": accept.measure,
    "ride": ride.measure,
    "patterns": patterns.measure,
    "linearity": linearity.measure,
    "scaling": scaling.measure,
    "soak": soak.measure,
}
OPT_IN_SUBJECTS = frozenset({"patterns", "publisher", "soak"})
"""Subjects that run only if named with --only, because they take many minutes."""
ALL_PLANS = tuple(coupling.value for coupling in Coupling)
FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)
FILE = click.Path(dir_okay=False, resolve_path=True, path_type=Path)
EXAMPLES = examples(
    "prebook bench",
    "prebook bench --only relay --rounds 9",
    "prebook bench --only ride --plans one_way --rounds 3",
    "prebook bench --only patterns",
    "prebook bench --only soak --minutes 10",
    "prebook bench --json | jq '.rows[] | {name, ratio, goal, met}'",
)
COLUMNS = ("benchmark", "ours", "baseline", "unit", "ratio", "spread", "rounds", "goal", "met", "compared with", "note")
NUMERIC_COLUMNS = ("ours", "baseline", "ratio", "rounds")
CONSOLE_WIDTH = 170


def check_writable(_: click.Context, __: click.Parameter, file: Path | None) -> Path | None:
    """Check before the measurement, which takes half an hour, that its result can be written."""
    if file and not file.parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.parent}; create it first")
    if file and not os.access(file if file.exists() else file.parent, os.W_OK):
        raise click.BadParameter(f"{file} cannot be written; choose another file")
    return file


@click.command(epilog=EXAMPLES)
@click.option(
    "--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Rounds per side; the sides alternate."
)
@click.option("--only", multiple=True, type=click.Choice(list(SUBJECTS)), help="Measure only this subject; repeatable.")
@click.option(
    "--plans",
    multiple=True,
    type=click.Choice(ALL_PLANS),
    help="(ride, soak) Plan to measure; repeatable. [default: all]",
)
@click.option(
    "--minutes", type=FiniteRange(0.5, 120), default=10.0, show_default=True, help="(soak) Duration in minutes."
)
@click.option(
    "--baseline-checkout", type=FOLDER, help="(ride) Path of an older checkout to benchmark alternately with this one."
)
@click.option(
    "--save-baseline",
    type=FILE,
    callback=check_writable,
    help="(ride) File for the figures of this checkout, or of --baseline-checkout, as baseline of later runs.",
)
@json_option()
def bench(
    *,
    rounds: int,
    only: Sequence[str],
    plans: Sequence[str],
    minutes: float,
    baseline_checkout: Path | None,
    save_baseline: Path | None,
    as_json: bool,
) -> None:
    """Compare relay, channels, calls and whole rides with baselines that do the least possible.

    Every subject gets a temporary broker and database. Run the bench on an otherwise idle machine. Exit status 1 if a
    subject could not be measured; a missed goal is reported in the table only.
    """
    OPTIONS.set(
        BenchOptions(
            plans=tuple(plans) or ALL_PLANS,
            minutes=minutes,
            baseline_checkout=baseline_checkout,
            save_baseline=save_baseline,
        )
    )
    rows = run_interruptible(_measure_all(only or [name for name in SUBJECTS if name not in OPT_IN_SUBJECTS], rounds))
    if as_json:
        echo(msgspec.json.encode({"rows": rows}))
    else:
        PlainConsole(width=None if sys.stdout.isatty() else CONSOLE_WIDTH).print(_table(rows))
    sys.exit(1 if any(row.name in SUBJECTS for row in rows) else 0)


async def _measure_all(names: Sequence[str], rounds: int) -> list[BenchRow]:
    return [row for name in names for row in await _measure_subject(name, rounds)]


async def _measure_subject(name: str, rounds: int) -> list[BenchRow]:
    """Measure one subject on its own broker and database, independent of the subjects before it.

    If it fails, return one row with its name and the reason, so that the other subjects are still measured.
    """
    try:
        async with start_testbed(log_to_stderr) as testbed:
            log_to_stderr(f"{name}: {rounds} rounds per side, alternating")
            rows = await SUBJECTS[name](testbed, rounds)
    except UserError as error:
        log_to_stderr(f"{name}: {error}")
        return [failed_row(name, error.problem)]
    except Exception as error:  # noqa: BLE001 - no failure may discard the subjects measured before
        log_to_stderr("".join(traceback.format_exception(error)))
        return [failed_row(name, error_summary(error))]
    for row in rows:
        log_to_stderr(f"{row.name}: {_number_text(row.ratio)} x, goal {row.goal}")
    return rows


def _table(rows: Sequence[BenchRow]) -> Table:
    table = Table(title="Compared with baselines that do the least possible", caption="medians over the rounds")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in NUMERIC_COLUMNS else "left")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: BenchRow) -> tuple[str, ...]:
    ratio = row.spread.get("ratio")
    spread = f"{ratio.low:g} .. {ratio.high:g}" if ratio else ""
    met = {True: "yes", False: "no", None: "?"}[row.met]
    return (
        row.name,
        _number_text(row.ours),
        _number_text(row.baseline),
        row.unit,
        _number_text(row.ratio),
        spread,
        str(row.rounds),
        row.goal,
        met,
        row.baseline_name,
        row.note,
    )


def _number_text(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
