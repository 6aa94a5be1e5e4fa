"""`prebook parking note|edit|discard|restore`."""

from base64 import b64encode
from typing import IO

import msgspec
import rich_click as click

from prebook.cli.parking.operations_client import call_operations
from prebook.cli.parking.selection import json_option, parse_selection, selection_options
from prebook.contracts.dead_letters import (
    ChangedDeadLetters,
    DeadLetterView,
    DiscardRequest,
    EditRequest,
    NoteRequest,
    Payload,
    RestoreRequest,
)
from prebook.devstack.command_line import examples

id_argument = click.argument("parked_id", metavar="ID", type=click.IntRange(min=1))


@click.command(epilog=examples("prebook parking note 17 'the fleet sends no price since noon'"))
@id_argument
@click.argument("text")
@json_option
def note(*, parked_id: int, text: str, as_json: bool) -> None:
    """Write something down about a message."""
    view = call_operations(DeadLetterView, "POST", f"/v1/parked/{parked_id}/notes", NoteRequest(text=text))
    click.echo(msgspec.json.encode(view) if as_json else f"message {parked_id} has {len(view.notes)} note(s)")


@click.command(
    epilog=examples(
        "prebook parking edit 17 --reason 'complete it' --payload-file mended.json",
        "prebook parking edit 17 --reason 'known version' --set ce-type=prebook.quote_fare.v1",
        "prebook parking edit 17 --reason 'no such header' --unset x-old",
    )
)
@id_argument
@click.option("--reason", required=True)
@click.option(
    "--payload-file", type=click.File("rb"), help="The new payload; - is stdin. Without it the payload stays."
)
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="A header.")
@click.option("--unset", "unsets", multiple=True, metavar="NAME", help="Take a header away.")
@json_option
def edit(
    *,
    parked_id: int,
    reason: str,
    payload_file: IO[bytes] | None,
    sets: tuple[str, ...],
    unsets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Put a new version beside the message as it came. A replay sends the newest."""
    headers: dict[str, str | None] = {**dict(_parse_header(text) for text in sets), **dict.fromkeys(unsets)}
    payload = _payload(payload_file.read()) if payload_file else None
    request = EditRequest(reason=reason, headers=headers, payload=payload)
    view = call_operations(DeadLetterView, "POST", f"/v1/parked/{parked_id}/versions", request)
    click.echo(msgspec.json.encode(view) if as_json else f"message {parked_id} is at version {view.summary.version}")


@click.command(
    epilog=examples("prebook parking discard 17 18 --reason test", "prebook parking discard --group 3f1c --reason old")
)
@selection_options
@click.option("--reason", required=True)
@json_option
def discard(*, ids: tuple[int, ...], everything: bool, reason: str, as_json: bool, **given: str) -> None:
    """Set messages aside for good. They stay, and can be restored; later ones of the same group are not touched."""
    request = DiscardRequest(selection=parse_selection(ids, everything, given), reason=reason)
    _print_changed("discarded", call_operations(ChangedDeadLetters, "POST", "/v1/discards", request), as_json)


@click.command(epilog=examples("prebook parking restore 17", "prebook parking restore --all"))
@selection_options
@json_option
def restore(*, ids: tuple[int, ...], everything: bool, as_json: bool, **given: str) -> None:
    """Take discards back."""
    request = RestoreRequest(selection=parse_selection(ids, everything, given))
    _print_changed("restored", call_operations(ChangedDeadLetters, "POST", "/v1/restores", request), as_json)


COMMANDS = (note, edit, discard, restore)


def _print_changed(action: str, changed: ChangedDeadLetters, as_json: bool) -> None:
    click.echo(msgspec.json.encode(changed) if as_json else f"{action} {len(changed.ids)} message(s)")


def _parse_header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError(f"--set {text}: write NAME=VALUE")
    return name, value


def _payload(content: bytes) -> Payload:
    try:
        return Payload(text=content.decode())
    except UnicodeDecodeError:
        return Payload(base64=b64encode(content).decode())
