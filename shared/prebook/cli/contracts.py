"""`prebook contracts`: export the contracts of the messages, and compare two versions of them."""

import json
from dataclasses import asdict
from pathlib import Path

import msgspec
import rich_click as click

from prebook.devstack.command_line import UserErrorGroup, examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import echo
from prebook.messaging.compatibility import MessageComparison, compare
from prebook.messaging.contract_snapshot import Snapshot, current_snapshot
from prebook.text_file import read_text

SNAPSHOT_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(
    cls=UserErrorGroup,
    epilog=examples(
        "prebook contracts export --output contracts.json",
        "prebook contracts check docs/reference/contracts.json          against this version",
        "prebook contracts check old.json new.json --json",
    ),
)
def contracts() -> None:
    """Export the contracts of the messages, and say who must be upgraded first after a change."""


@contracts.command(epilog=examples("prebook contracts export --output contracts.json"))
@click.option("--output", type=SNAPSHOT_FILE, help="File to write; standard output without it.")
def export(output: Path | None) -> None:
    """Print the schemas of all versions of all messages of this version, as JSON."""
    text = msgspec.json.format(msgspec.json.encode(current_snapshot()), indent=1).decode()
    if output is None:
        echo(text)
    else:
        output.write_text(text + "\n")


@contracts.command(
    epilog=examples(
        "prebook contracts check docs/reference/contracts.json",
        "prebook contracts check old.json new.json --json",
    )
)
@click.argument("old", type=SNAPSHOT_FILE)
@click.argument("new", type=SNAPSHOT_FILE, required=False)
@json_option()
def check(old: Path, new: Path | None, *, as_json: bool) -> None:
    """Compare two snapshots: OLD, and NEW or the contracts of this version.

    For each changed message: who can read whom (full, backward, forward, none), and who must be upgraded first.
    Backward: new receivers read old senders. Forward: old receivers read new senders. Exit status 1 on a breaking
    change: messages of old senders, which are in queues, dead letters and archives, become unreadable.
    """
    comparisons = compare(_read(old), _read(new) if new else current_snapshot())
    if as_json:
        echo(
            json.dumps(
                [{**asdict(each), "upgrade": each.upgrade, "breaking": each.is_breaking} for each in comparisons]
            )
        )
    else:
        for line in _describe(comparisons):
            echo(line)
    if any(each.is_breaking for each in comparisons):
        raise SystemExit(1)


def _describe(comparisons: list[MessageComparison]) -> list[str]:
    changed = [each for each in comparisons if each.backward_problems or each.forward_problems]
    lines = [f"{len(comparisons)} messages, {len(changed)} with changes that one side does not understand"]
    for each in changed:
        mark = "BREAKING " if each.is_breaking else ""
        lines.append(f"{mark}{each.name}: {each.compatibility}, upgrade {each.upgrade}")
        lines.append(
            f"  from {', '.join(each.senders)} to {', '.join(each.receivers) or 'subscribers outside the suite'}"
        )
        if each.write_version is not None:
            setting = f"PREBOOK_MESSAGE_VERSIONS={each.name}={each.write_version}"
            lines.append(f"  until all receivers are upgraded, senders need {setting}")
        lines += [f"  new receivers, old senders: {problem}" for problem in each.backward_problems]
        lines += [f"  old receivers, new senders: {problem}" for problem in each.forward_problems]
    return lines


def _read(path: Path) -> Snapshot:
    try:
        return msgspec.json.decode(read_text(path), type=Snapshot)
    except msgspec.DecodeError as error:
        raise UserError(
            f"{path} is no snapshot of contracts: {error}", "write one with `prebook contracts export`"
        ) from None
