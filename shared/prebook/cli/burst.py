"""`prebook load burst`: several times the capacity, on a suite with back pressure and on one without."""

import sys
from collections.abc import Mapping
from pathlib import Path

import rich_click as click

from prebook.cli import interruption, own_suite, program
from prebook.cli.environments import Terms, loadtest
from prebook.cli.telling import examples
from prebook.cli.whereabouts import Whereabouts
from prebook.given import ABOVE_0, FOLDER

SIDES = ("on", "off")
EXAMPLES = examples(
    "prebook load burst",
    "prebook load burst --factor 2 --duration 10",
    "prebook load burst --capacity 40 --report reports/burst",
    "prebook load burst --back-pressure off --capacity 40",
    "prebook load burst --json | jq .verdict",
)


@click.command(epilog=EXAMPLES)
@click.option("--capacity", type=ABOVE_0, help="Rides settled a second. [default: found by offering more and more]")
@click.option("--factor", type=ABOVE_0, default=5.0, show_default=True, help="How many times the capacity is offered.")
@click.option("--duration", type=ABOVE_0, default=60.0, show_default=True, help="For how many seconds.")
@click.option("--seed", default=7, show_default=True, help="Both sides are offered the same rides at the same times.")
@click.option(
    "--back-pressure",
    type=click.Choice([*SIDES, "both"]),
    default="both",
    show_default=True,
    help="Sides to play.",
)
@click.option(
    "--report",
    type=FOLDER,
    default="reports/burst",
    show_default=True,
    help="Folder for report.json, report.html, and what was measured of each side.",
)
@click.option("--json", "as_json", is_flag=True, help="The report on stdout; progress and tables on stderr.")
def burst(
    *,
    capacity: float | None,
    factor: float,
    duration: float,
    seed: int,
    back_pressure: str,
    report: Path,
    as_json: bool,
) -> None:
    """Offer several times the capacity for a minute, with back pressure on and off, and set both side by side.

    Exit status 1 if, with it on, the age of the oldest message or memory left its bounds, less than 0.9 of the capacity
    was settled in time, a ride was turned away without a word, or one was lost; or if, with it off, nothing grew; or if
    one of these was not measured, which is said apart.
    """
    given = (("--capacity", capacity), ("--factor", factor), ("--duration", duration), ("--seed", seed))
    arguments = [word for flag, value in given if value is not None for word in (flag, str(value))]
    _cleared(report)
    for side in SIDES if back_pressure == "both" else (back_pressure,):
        terms = Terms(ports=own_suite.ports(), seed=seed, log_level="error", settings={"PREBOOK_BACK_PRESSURE": side})
        command = ["burst", "measure", "--side", side, "--into", str(report), *arguments]
        status = own_suite.played(f"a burst with back pressure {side}", command, terms, _told)
        if status:
            sys.exit(status)
    shown = ["burst", "judge", str(report), *(("--json",) if as_json else ())]
    sys.exit(interruption.run(program.run(shown, {})))


def _cleared(folder: Path) -> None:
    """What was measured before is not to be judged with this. Raises click.UsageError."""
    try:
        for side in SIDES:
            (folder / f"{side}.json").unlink(missing_ok=True)
    except OSError as error:
        raise click.UsageError(f"cannot clear {folder} ({error}); choose another folder with --report") from error


def _told(suite: Whereabouts) -> Mapping[str, str]:
    """With the database, which is looked at every second."""
    return {**loadtest(suite), "PREBOOK_DATABASE_URL": suite.database_url}
