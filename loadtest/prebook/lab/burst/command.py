"""``python -m prebook.lab burst``: one side against a running suite, then both sides side by side."""

import asyncio
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import rich_click as click
import uvloop
from rich.console import Console

from prebook.devstack.parameters import POSITIVE, WRITABLE_FOLDER, FiniteRange
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

CONSOLE_WIDTH = 170
SIDES = ("on", "off")


@click.group
def burst() -> None:
    """Offer several times the capacity to a running suite, and judge what stayed bounded."""


@burst.command
@click.option("--side", type=click.Choice(SIDES), required=True, help="Back pressure, as the suite was started.")
@click.option("--output-dir", type=WRITABLE_FOLDER, required=True, help="Folder for what was measured.")
@click.option("--capacity", type=POSITIVE, help="Rides settled a second. [default: found, or that of the other side]")
@click.option("--factor", type=POSITIVE, default=5.0, show_default=True, help="How many times the capacity is offered.")
@click.option("--duration", type=POSITIVE, default=60.0, show_default=True, help="For how many seconds.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same rides at the same times.")
@click.option("--max-retries", default=2, show_default=True, help="How often a refused rider comes back, when told.")
@click.option(
    "--patience",
    type=FiniteRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds that a rider is willing to be told to wait.",
)
@click.option(
    "--settle-timeout", type=POSITIVE, default=45.0, show_default=True, help="Seconds for all to come to rest."
)
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
    """Measure one side and write it into the folder."""
    known = capacity or read_capacity(output_dir)
    options = BurstOptions(
        side, known, factor, duration, RiderRetryPolicy(max_retries=max_retries, patience_s=patience)
    )
    sys.exit(run_guarded(options, seed, settle_timeout, output_dir))


@burst.command
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="The report on stdout; tables on stderr.")
def judge(*, directory: Path, as_json: bool) -> None:
    """Set what was measured side by side, and write report.json and report.html into the same folder.

    Exit status 1 if a check failed, or was not measured though it was due.
    """
    sides = read_sides(directory)
    if not sides:
        click.echo(
            f"Error: nothing was measured in {directory}; `prebook load burst --report {directory}` does that", err=True
        )
        sys.exit(1)
    report = build_report(sides)
    written = msgspec.json.encode(report)
    writer.replace_file(directory / "report.json", msgspec.json.format(written, indent=2) + b"\n")
    writer.replace_file(directory / "report.html", render_page(report).encode())
    stream = sys.stderr if as_json else sys.stdout
    console = Console(stderr=as_json, width=None if stream.isatty() else CONSOLE_WIDTH)
    console.print(terminal.results_view(report))
    console.print(f"Report: {directory / 'report.html'}", soft_wrap=True, highlight=False)
    if as_json:
        sys.stdout.write(written.decode() + "\n")
    sys.exit(0 if report.verdict.ok else 1)


def read_sides(directory: Path) -> tuple[BurstSide, ...]:
    files = [path for side in SIDES if (path := directory / f"{side}.json").exists()]
    return tuple(msgspec.json.decode(path.read_bytes(), type=BurstSide) for path in files)


def read_capacity(output_dir: Path) -> float | None:
    """The capacity that the other side was measured with: both are offered the same."""
    return next((side.capacity_per_s for side in read_sides(output_dir)), None)


def run_guarded(options: BurstOptions, seed: int, settle_timeout_s: float, output_dir: Path) -> int:
    def run() -> int:
        writer.prepare_folder(output_dir)
        return uvloop.run(measure_side(options, seed, settle_timeout_s, output_dir))

    return exit_status_of(run, "nothing was written")


async def measure_side(options: BurstOptions, seed: int, settle_timeout_s: float, output_dir: Path) -> int:
    settings = read_settings(os.environ)
    async with open_session() as session:
        database_url = os.environ.get("PREBOOK_DATABASE_URL", "")
        access = fault_access.read_fault_access(session, os.environ)
        if is_local(access.supervisor_urls.values()):
            with suppress(*READ_ERRORS):
                await asyncio.to_thread(lower_priority, (await read_pids(access)).values())
        runner = LoadRunner(access, database_url, f"b{secrets.token_hex(4)}", seed, settle_timeout_s)
        side, result = await run_side(runner, options, settings.stack, log)
    writer.replace_file(output_dir / f"{options.back_pressure}.json", msgspec.json.encode(side) + b"\n")
    writer.replace_file(
        output_dir / f"samples-{options.back_pressure}.jsonl",
        encode_samples(map(sample_with_outcome, result.reconciliation.accounts)),
    )
    return 0


def log(line: str) -> None:
    click.echo(line, err=True)
