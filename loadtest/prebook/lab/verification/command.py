"""`prebook report`: verify the numbers of a report, and judge its claims on another run."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import rich_click as click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from prebook.devstack import temporary_suite
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option, report_option
from prebook.devstack.service_environment import SuiteOptions
from prebook.devstack.temporary_suite import LabRun, allocate_suite_ports
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.campaign.command import EXIT_NOT_JUDGED
from prebook.lab.campaign.raw_results import RAW_FILE, RawCampaign, read_raw
from prebook.lab.campaign.report_files import CONSOLE_WIDTH
from prebook.lab.campaign.scenarios import QUICK_DURATION_S, select_scenarios
from prebook.lab.report import writer
from prebook.lab.verification.claims import ClaimStatus
from prebook.lab.verification.comparison import Difference
from prebook.lab.verification.folder import FolderVerification, verify_folder
from prebook.lab.verification.rerun import Rerun, compare_claims

DEFAULT_FOLDER = "reports/latest"
DEFAULT_RERUN_FOLDER = "reports/rerun"
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
RERUN_EXAMPLES = examples(
    "prebook report rerun",
    "prebook report rerun reports/42 --quick",
    "prebook report rerun reports/42 --with reports/43 --json | jq .claims",
)
VERIFY_EXAMPLES = examples(
    "prebook report verify",
    "prebook report verify reports/42 --json | jq .differences",
)


@click.group()
def report() -> None:
    """Check the report of a campaign: recompute its numbers, or judge its claims on another run."""


@report.command(epilog=VERIFY_EXAMPLES)
@click.argument("folder", type=FOLDER, default=Path(DEFAULT_FOLDER))
@json_option()
def verify(*, folder: Path, as_json: bool) -> None:
    """Recompute every number of a report from its raw results, and compare.

    FOLDER holds raw.json.xz, and report.json, report.html, report.txt, samples.jsonl, or quotes.toml, which names
    passages of documents with numbers of the run. Each number has an id, such as
    calm.sync_api.latency_ms.settled.p50; report.html#ID shows it.

    Exit status 1 if a number differs, which is named with its printed and its recomputed value; if a passage is
    missing, if a number has no id, if the raw results are unreadable, or if clocks disagreed during the run.
    """
    result = verify_folder(folder)
    if as_json:
        echo(msgspec.json.encode(result))
    else:
        print_result(result)
    sys.exit(0 if result.ok else 1)


def print_result(result: FolderVerification) -> None:
    """Print how many numbers were recomputed, and those that differ."""
    console = PlainConsole(width=None if sys.stdout.isatty() else CONSOLE_WIDTH)
    for reason in result.refused:
        console.print(f"refused: {reason}", soft_wrap=True, highlight=False)
    if result.differences:
        console.print(differences_table(result.differences))
    for name, count in result.checked.items():
        differing = sum(each.file == name for each in result.differences)
        console.print(f"{name}: {count} recomputed, {differing} differ", soft_wrap=True, highlight=False)


def differences_table(differences: Sequence[Difference]) -> Table:
    """Return a table of the numbers that differ."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("file", "id", "printed", "recomputed"):
        table.add_column(heading, overflow="fold")
    for each in differences:
        table.add_row(*(str(value) for value in msgspec.structs.astuple(each)))
    return table


@report.command(epilog=RERUN_EXAMPLES)
@click.argument("folder", type=FOLDER, default=Path(DEFAULT_FOLDER))
@click.option("--quick", is_flag=True, help="Run the quick scenarios only, in about a minute.")
@click.option("--with", "other", type=FOLDER, help="Judge the run in this folder; run no campaign.")
@report_option(DEFAULT_RERUN_FOLDER, "Folder for the report of the new campaign.")
@json_option("With --with: print the claims as one JSON document to stdout.")
def rerun(*, folder: Path, quick: bool, other: Path | None, report_dir: Path, as_json: bool) -> None:
    """Run the campaign in FOLDER again on this machine, and say of each claim: held, not held, or not measurable here.

    The new campaign has the same scenarios, seed, rate and duration, on a suite of its own. A claim is not measurable
    if its scenario cannot run here, if its fault had no effect, or if the machine was too busy.

    Exit status 1 if a claim did not hold, 3 if no claim could be judged.
    """
    earlier = read_raw(folder)
    if other is None:
        if as_json:
            raise click.UsageError("--json needs --with: run the campaign first, then judge its report folder")
        run_again(earlier, report_dir, quick=quick)
        other = report_dir
    result = compare_claims(earlier, read_raw(other))
    if as_json:
        echo(msgspec.json.encode(result))
    else:
        print_claims(result)
    sys.exit(rerun_status(result))


def run_again(earlier: RawCampaign, report_dir: Path, *, quick: bool) -> None:
    """Run a campaign with the scenarios, seed, rate and duration of an earlier one; ``quick``: the quick scenarios."""
    writer.prepare_folder(report_dir)
    (report_dir / RAW_FILE).unlink(missing_ok=True)
    known = select_scenarios(earlier.scenario_order, quick=False)
    chosen = [scenario for scenario in known if scenario.quick or not quick]
    if not chosen:
        raise UserError("the run has no scenario that can be repeated", "give the report folder of `prebook demo`")
    duration_s = QUICK_DURATION_S if quick else earlier.scenario_duration_s
    load = {"--seed": earlier.seed, "--rate": earlier.rate_per_s, "--duration": duration_s}
    arguments = ["campaign", *(str(word) for option in load.items() for word in option)]
    arguments += [word for scenario in chosen for word in ("--scenario", scenario.name)]
    arguments += ["--report", str(report_dir.absolute())]
    suite = SuiteOptions(ports=allocate_suite_ports(), seed=earlier.seed, log_level="warning")
    temporary_suite.run_lab(LabRun("running the campaign again", arguments), suite)


def rerun_status(result: Rerun) -> int:
    """Return the exit status: 1 if a claim did not hold, EXIT_NOT_JUDGED if none could be judged, else 0."""
    if result.count(ClaimStatus.NOT_HELD):
        return 1
    return 0 if result.count(ClaimStatus.HELD) else EXIT_NOT_JUDGED


def print_claims(result: Rerun) -> None:
    """Print a table of the claims, and how many have each status."""
    console = PlainConsole(width=None if sys.stdout.isatty() else CONSOLE_WIDTH)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for heading in ("claim", "talk", f"run {result.earlier_run_id}", f"run {result.rerun_id}", "verdict"):
        table.add_column(heading, overflow="fold")
    for line in result.claims:
        evidence = (line.earlier.evidence, line.rerun.evidence)
        table.add_row(line.text, " ".join(line.talk), *evidence, line.rerun.status.value)
    console.print(table)
    counts = ", ".join(f"{result.count(status)} {status.value}" for status in ClaimStatus)
    console.print(f"{len(result.claims)} claims: {counts}", soft_wrap=True, highlight=False)
