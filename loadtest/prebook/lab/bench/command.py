"""`prebook bench`: the product's parts compared with baselines that do the least possible."""

import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.contracts.plan import Coupling
from prebook.devstack.command_line import examples, log_to_stderr, run_interruptible
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import FiniteRange, json_option
from prebook.lab.bench.options import OPTIONS, BenchOptions
from prebook.lab.bench.rows import BenchRow, failed_row
from prebook.lab.bench.subjects import (
    accept,
    consume,
    http,
    latency,
    linearity,
    prefetch,
    relay,
    ride,
    rpc,
    scaling,
    soak,
)
from prebook.lab.bench.testbed import BenchTestbed, start_testbed
from prebook.messaging.errors import error_summary

Subject = Callable[[BenchTestbed, int], Awaitable[list[BenchRow]]]
SUBJECTS: Mapping[str, Subject] = {
    "relay": relay.measure,
    "latency": latency.measure,
    "rpc": rpc.measure,
    "consume": consume.measure,
    "prefetch": prefetch.measure,
    "http": http.measure,
    "accept": accept.measure,
    "ride": ride.measure,
    "linearity": linearity.measure,
    "scaling": scaling.measure,
    "soak": soak.measure,
}
OPT_IN_SUBJECTS = frozenset({"soak"})
"""Too long to be among the rest."""
ALL_PLANS = tuple(coupling.value for coupling in Coupling)
FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)
FILE = click.Path(dir_okay=False, resolve_path=True, path_type=Path)
EXAMPLES = examples(
    "prebook bench",
    "prebook bench --only relay --rounds 9",
    "prebook bench --only ride --plans one_way --rounds 3",
    "prebook bench --only soak --minutes 10",
    "prebook bench --json | jq '.rows[] | {name, ratio, goal, met}'",
)
COLUMNS = ("benchmark", "ours", "baseline", "unit", "ratio", "spread", "rounds", "goal", "met", "compared with", "note")
NUMERIC_COLUMNS = ("ours", "baseline", "ratio", "rounds")
CONSOLE_WIDTH = 170


def _check_writable(_: click.Context, __: click.Parameter, file: Path | None) -> Path | None:
    """Asked at the beginning: what is measured for half an hour must not be lost at the end."""
    if file and not file.parent.is_dir():
        raise click.BadParameter(f"there is no folder {file.parent}; make it first")
    if file and not os.access(file if file.exists() else file.parent, os.W_OK):
        raise click.BadParameter(f"{file} cannot be written; choose another place")
    return file


@click.command(epilog=EXAMPLES)
@click.option(
    "--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Rounds of each side, in turns."
)
@click.option("--only", multiple=True, type=click.Choice(list(SUBJECTS)), help="Measure only this subject; repeatable.")
@click.option(
    "--plans",
    multiple=True,
    type=click.Choice(ALL_PLANS),
    help="Plan of the subjects ride and soak; repeatable. [default: all]",
)
@click.option(
    "--minutes", type=FiniteRange(0.5, 120), default=10.0, show_default=True, help="Duration of the subject soak."
)
@click.option("--baseline-checkout", type=FOLDER, help="Older checkout whose suite takes turns with ours, in ride.")
@click.option(
    "--save-baseline",
    type=FILE,
    callback=_check_writable,
    help="File for the figures of ride (with --baseline-checkout: of that checkout), to compare later runs with.",
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
    """Compare relay, channels, calls and whole rides with baselines that do the least possible, in turns.

    It starts a broker and a database of its own. Run it on a machine that does nothing else. Exit status 1 if a subject
    could not be measured; a missed goal is no failure of the bench.
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
        click.echo(msgspec.json.encode({"rows": rows}))
    else:
        Console(width=None if sys.stdout.isatty() else CONSOLE_WIDTH).print(_table(rows))
    sys.exit(1 if any(each.name in SUBJECTS for each in rows) else 0)


async def _measure_all(names: Sequence[str], rounds: int) -> list[BenchRow]:
    return [row for name in names for row in await _measure_subject(name, rounds)]


async def _measure_subject(name: str, rounds: int) -> list[BenchRow]:
    """On a broker and a database of its own, so that it meets nothing that another has left or taken away. One that
    cannot be measured is a row of its name that says why, and costs the others nothing.
    """
    try:
        async with start_testbed(log_to_stderr) as testbed:
            log_to_stderr(f"{name}: {rounds} rounds of each side, in turns")
            rows = await SUBJECTS[name](testbed, rounds)
    except UserError as trouble:
        log_to_stderr(f"{name}: {trouble}")
        return [failed_row(name, trouble.problem)]
    except Exception as error:  # noqa: BLE001 - whatever it is, what was measured before is not lost
        log_to_stderr("".join(traceback.format_exception(error)))
        return [failed_row(name, error_summary(error))]
    for each in rows:
        log_to_stderr(f"{each.name}: {_number_text(each.ratio)} x, goal {each.goal}")
    return rows


def _table(rows: Sequence[BenchRow]) -> Table:
    table = Table(title="Compared with baselines that do the least possible", caption="medians of the rounds")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in NUMERIC_COLUMNS else "left")
    for each in rows:
        table.add_row(*_cells(each))
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
