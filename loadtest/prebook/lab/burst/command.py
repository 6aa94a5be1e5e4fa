"""``python -m loadtest burst``: one side against a running suite, then both sides side by side."""

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

from prebook.devstack.parameters import ABOVE_0, FOLDER, FiniteRange
from prebook.lab.burst import terminal
from prebook.lab.burst.judge import report
from prebook.lab.burst.load_runner import Ground
from prebook.lab.burst.model import Side
from prebook.lab.burst.monitor import BLIND, trees
from prebook.lab.burst.niceness import give_way, on_this_machine
from prebook.lab.burst.page import page
from prebook.lab.burst.run import Terms, played
from prebook.lab.exit_status import status_of
from prebook.lab.faults import fault_access
from prebook.lab.ledger.accounts import finished
from prebook.lab.load.generator import open_session
from prebook.lab.load.retry_policy import Returns
from prebook.lab.load.samples import lines
from prebook.lab.report import writer
from prebook.lab.suite_client.settings import read_settings

WIDE = 170
SIDES = ("on", "off")


@click.group
def burst() -> None:
    """Offer several times the capacity to a running suite, and judge what stayed bounded."""


@burst.command
@click.option("--side", type=click.Choice(SIDES), required=True, help="Back pressure, as the suite was started.")
@click.option("--into", type=FOLDER, required=True, help="Folder for what was measured.")
@click.option("--capacity", type=ABOVE_0, help="Rides settled a second. [default: found, or that of the other side]")
@click.option("--factor", type=ABOVE_0, default=5.0, show_default=True, help="How many times the capacity is offered.")
@click.option("--duration", type=ABOVE_0, default=60.0, show_default=True, help="For how many seconds.")
@click.option("--seed", default=7, show_default=True, help="The same seed offers the same rides at the same times.")
@click.option("--returns", default=2, show_default=True, help="How often a refused rider comes back, when told.")
@click.option(
    "--patience",
    type=FiniteRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds that a rider is willing to be told to wait.",
)
@click.option("--settle", type=ABOVE_0, default=45.0, show_default=True, help="Seconds for all to come to rest.")
def measure(
    *,
    side: str,
    into: Path,
    capacity: float | None,
    factor: float,
    duration: float,
    seed: int,
    returns: int,
    patience: float,
    settle: float,
) -> None:
    """Measure one side and write it into the folder."""
    known = capacity or found_before(into)
    terms = Terms(side, known, factor, duration, Returns(most=returns, patience_s=patience))
    sys.exit(guarded(terms, seed, settle, into))


@burst.command
@click.argument("of", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="The report on stdout; tables on stderr.")
def judge(*, of: Path, as_json: bool) -> None:
    """Set what was measured side by side, and write report.json and report.html into the same folder.

    Exit status 1 if a check failed, or was not measured though it was due.
    """
    sides = found(of)
    if not sides:
        click.echo(f"Error: nothing was measured in {of}; `prebook load burst --report {of}` does that", err=True)
        sys.exit(1)
    made = report(sides)
    written = msgspec.json.encode(made)
    writer.replace(of / "report.json", msgspec.json.format(written, indent=2) + b"\n")
    writer.replace(of / "report.html", page(made).encode())
    stream = sys.stderr if as_json else sys.stdout
    console = Console(stderr=as_json, width=None if stream.isatty() else WIDE)
    console.print(terminal.results(made))
    console.print(f"Report: {of / 'report.html'}", soft_wrap=True, highlight=False)
    if as_json:
        sys.stdout.write(written.decode() + "\n")
    sys.exit(0 if made.verdict.ok else 1)


def found(of: Path) -> tuple[Side, ...]:
    files = [path for side in SIDES if (path := of / f"{side}.json").exists()]
    return tuple(msgspec.json.decode(path.read_bytes(), type=Side) for path in files)


def found_before(into: Path) -> float | None:
    """The capacity that the other side was measured with: both are offered the same."""
    return next((side.capacity_per_s for side in found(into)), None)


def guarded(terms: Terms, seed: int, settle_s: float, into: Path) -> int:
    def run() -> int:
        writer.prepare(into)
        return uvloop.run(measured(terms, seed, settle_s, into))

    return status_of(run, "nothing was written")


async def measured(terms: Terms, seed: int, settle_s: float, into: Path) -> int:
    settings = read_settings(os.environ)
    async with open_session() as session:
        database_url = os.environ.get("PREBOOK_DATABASE_URL", "")
        into_it = levers(session, os.environ)
        if on_this_machine(into_it.controls.values()):
            with suppress(*BLIND):
                await asyncio.to_thread(give_way, (await trees(into_it)).values())
        ground = Ground(into_it, database_url, f"b{secrets.token_hex(4)}", seed, settle_s)
        side, offered = await played(ground, terms, settings.stack, say)
    writer.replace(into / f"{terms.back_pressure}.json", msgspec.json.encode(side) + b"\n")
    writer.replace(into / f"samples-{terms.back_pressure}.jsonl", lines(map(finished, offered.books.accounts)))
    return 0


def say(line: str) -> None:
    click.echo(line, err=True)
