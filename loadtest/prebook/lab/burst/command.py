"""`prebook load burst`: measure each side on a temporary suite, then compare the measurements."""

import asyncio
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
import uvloop

from prebook.devstack import temporary_suite
from prebook.devstack.command_line import examples, log_to_stderr, run_interruptible
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import (
    POSITIVE,
    WRITABLE_FOLDER,
    FiniteRange,
    arguments_of,
    combine,
    json_option,
    report_option,
    seed_option,
)
from prebook.devstack.service_environment import SuiteOptions
from prebook.devstack.temporary_suite import LabRun, allocate_suite_ports
from prebook.devstack.terminal import PlainConsole
from prebook.lab.burst import terminal
from prebook.lab.burst.judge import build_report
from prebook.lab.burst.load_runner import LoadRunner
from prebook.lab.burst.model import BurstSide
from prebook.lab.burst.monitor import READ_ERRORS, read_pids
from prebook.lab.burst.niceness import is_local, lower_priority
from prebook.lab.burst.page import render_page
from prebook.lab.burst.run import BurstOptions, run_side
from prebook.lab.exit_status import exit_status_of
from prebook.lab.faults import fault_access
from prebook.lab.ledger.accounts import sample_with_outcome
from prebook.lab.load.generator import open_session
from prebook.lab.load.retry_policy import RiderRetryPolicy
from prebook.lab.load.samples import encode_samples
from prebook.lab.report import writer
from prebook.lab.suite_client.settings import read_settings
from prebook.text_file import read_text

CONSOLE_WIDTH = 170
SIDES = ("on", "off")
"""Settings of back pressure that are compared."""
BURST_EXAMPLES = examples(
    "prebook load burst",
    "prebook load burst --factor 2 --duration 10",
    "prebook load burst --capacity 40 --report reports/burst",
    "prebook load burst --back-pressure off --capacity 40",
    "prebook load burst --json | jq .verdict",
)
load_options = combine(
    click.option(
        "--capacity",
        type=POSITIVE,
        help="Rides per second that the suite settles. [default: measured with rising load]",
    ),
    click.option(
        "--factor", type=POSITIVE, default=5.0, show_default=True, help="Offered rate, as a multiple of the capacity."
    ),
    click.option(
        "--duration", type=POSITIVE, default=60.0, show_default=True, help="Duration of the burst in seconds."
    ),
    seed_option("The same seed offers the same rides at the same times; both sides use it."),
    click.option(
        "--max-retries",
        default=2,
        show_default=True,
        help="Maximum number of retries of a rider refused with a Retry-After.",
    ),
    click.option(
        "--patience",
        type=FiniteRange(min=0),
        default=30.0,
        show_default=True,
        help="Seconds after the first attempt beyond which a refused rider does not retry.",
    ),
    click.option(
        "--settle-timeout",
        type=POSITIVE,
        default=45.0,
        show_default=True,
        help="Seconds that the suite may take after the burst until its backlog is empty.",
    ),
)


@click.command(epilog=BURST_EXAMPLES)
@load_options
@click.option(
    "--back-pressure",
    type=click.Choice([*SIDES, "both"]),
    default="both",
    show_default=True,
    help="Sides of the comparison to run.",
)
@report_option("reports/burst", "Folder for report.json, report.html and the measurements of each side.")
@json_option("Print the report to stdout, progress and tables to stderr.")
@click.pass_context
def burst(
    ctx: click.RichContext, /, *, seed: int, back_pressure: str, report_dir: Path, as_json: bool, **_: Any
) -> None:
    """Offer several times the capacity for a minute, with back pressure on and off, and compare both sides.

    Each side runs on its own temporary suite. Exit status 1 if, with back pressure on, the age of the oldest message or
    the memory exceeded its limit, less than 0.9 of the capacity was settled in time, a ride was refused without a
    Retry-After, or a ride was lost; if, with back pressure off, the backlog did not grow; or if one of these checks
    could not be measured, which is reported separately.
    """
    clear_measurements(report_dir)
    load_arguments = arguments_of(ctx, without=("back_pressure", "report_dir", "as_json"))
    for side in SIDES if back_pressure == "both" else (back_pressure,):
        suite = SuiteOptions(
            ports=allocate_suite_ports(), seed=seed, log_level="error", settings={"PREBOOK_BACK_PRESSURE": side}
        )
        arguments = ["burst", "measure", "--side", side, "--output-dir", str(report_dir), *load_arguments]
        run = LabRun(f"a burst with back pressure {side}", arguments, with_database=True)
        status = temporary_suite.run_lab(run, suite)
        if status:
            sys.exit(status)
    sys.exit(judge_measurements(report_dir, as_json=as_json))


@click.group("burst")
def burst_steps() -> None:
    """Steps of `prebook load burst`: measure a side on the suite named by the PREBOOK_* variables; compare both."""


@burst_steps.command
@click.option(
    "--side",
    type=click.Choice(SIDES),
    required=True,
    help="Whether the suite was started with back pressure on or off.",
)
@click.option("--output-dir", type=WRITABLE_FOLDER, required=True, help="Folder for the measurements.")
@load_options
def measure(
    *,
    side: str,
    output_dir: Path,
    capacity: float | None,
    factor: float,
    duration: float,
    seed: int,
    max_retries: int,
    patience: float,
    settle_timeout: float,
) -> None:
    """Measure one side and write the measurements to the output folder."""
    retries = RiderRetryPolicy(max_retries=max_retries, patience_s=patience)
    options = BurstOptions(side, capacity or read_capacity(output_dir), factor, duration, retries)
    sys.exit(run_guarded(options, seed, settle_timeout, output_dir))


@burst_steps.command
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@json_option("Print the report to stdout, tables to stderr.")
def judge(*, directory: Path, as_json: bool) -> None:
    """Compare the measurements in DIRECTORY and write report.json and report.html there.

    Exit status 1 if a check failed, or was due but not measured.
    """
    sys.exit(judge_measurements(directory, as_json=as_json))


def clear_measurements(directory: Path) -> None:
    """Remove the measurements of an earlier run, which would be compared with the new ones.

    Raises:
        click.UsageError: A file cannot be removed.
    """
    try:
        for side in SIDES:
            (directory / f"{side}.json").unlink(missing_ok=True)
    except OSError as error:
        raise click.UsageError(f"cannot clear {directory} ({error}); choose another folder with --report") from error


def judge_measurements(directory: Path, *, as_json: bool) -> int:
    """Write and print the report on the measurements in ``directory``; return the exit status. Raises UserError."""
    sides = read_sides(directory)
    if not sides:
        raise UserError(f"no measurements in {directory}", f"run `prebook load burst --report {directory}` first")
    report = build_report(sides)
    written = msgspec.json.encode(report)
    writer.replace_file(directory / "report.json", msgspec.json.format(written, indent=2) + b"\n")
    writer.replace_file(directory / "report.html", render_page(report).encode())
    stream = sys.stderr if as_json else sys.stdout
    console = PlainConsole(stderr=as_json, width=None if stream.isatty() else CONSOLE_WIDTH)
    console.print(terminal.results_view(report))
    console.print(f"Report: {directory / 'report.html'}", soft_wrap=True, highlight=False)
    if as_json:
        sys.stdout.write(written.decode() + "\n")
    return 0 if report.verdict.ok else 1


def read_sides(directory: Path) -> tuple[BurstSide, ...]:
    """Return the measurements in ``directory``, with back pressure on first. Raises UserError for another file."""
    files = [path for side in SIDES if (path := directory / f"{side}.json").exists()]
    try:
        return tuple(msgspec.json.decode(read_text(path), type=BurstSide) for path in files)
    except (OSError, msgspec.DecodeError) as error:
        remedy = f"run `prebook load burst --report {directory}` again"
        raise UserError(f"a measurement in {directory} cannot be read: {error}", remedy) from error


def read_capacity(output_dir: Path) -> float | None:
    """Return the capacity used for the other side, so that both sides get the same load; None if not yet measured."""
    return next((side.capacity_per_s for side in read_sides(output_dir)), None)


def run_guarded(options: BurstOptions, seed: int, settle_timeout_s: float, output_dir: Path) -> int:
    """Measure a side; return the exit status, also after an interruption."""

    def run() -> int:
        writer.prepare_folder(output_dir)
        return run_interruptible(measure_side(options, seed, settle_timeout_s, output_dir), uvloop.new_event_loop)

    return exit_status_of(run, "no measurements were written")


async def measure_side(options: BurstOptions, seed: int, settle_timeout_s: float, output_dir: Path) -> int:
    """Measure a side on the suite of the environment, write measurements and samples, and return 0.

    Raises:
        UserError: The environment names no suite, or the suite cannot be read.
    """
    settings = read_settings(os.environ)
    async with open_session() as session:
        database_url = os.environ.get("PREBOOK_DATABASE_URL", "")
        access = fault_access.read_fault_access(session, os.environ)
        if is_local(access.supervisor_urls.values()):
            with suppress(*READ_ERRORS):
                await asyncio.to_thread(lower_priority, (await read_pids(access)).values())
        runner = LoadRunner(access, database_url, f"b{secrets.token_hex(4)}", seed, settle_timeout_s)
        side, result = await run_side(runner, options, settings.stack, log_to_stderr)
    writer.replace_file(output_dir / f"{options.back_pressure}.json", msgspec.json.encode(side) + b"\n")
    writer.replace_file(
        output_dir / f"samples-{options.back_pressure}.jsonl",
        encode_samples(map(sample_with_outcome, result.reconciliation.accounts)),
    )
    return 0
