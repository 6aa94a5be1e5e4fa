"""`prebook report`: verify the numbers of a report."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import rich_click as click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from prebook.devstack.command_line import examples
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.lab.campaign.report_files import CONSOLE_WIDTH
from prebook.lab.verification.comparison import Difference
from prebook.lab.verification.folder import FolderVerification, verify_folder

DEFAULT_FOLDER = "reports/latest"
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
VERIFY_EXAMPLES = examples(
    "prebook report verify",
    "prebook report verify reports/42 --json | jq .differences",
)


@click.group()
def report() -> None:
    """Check the report of a campaign: recompute its numbers."""


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
