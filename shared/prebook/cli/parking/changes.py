"""`prebook parking note`, `edit`, `discard` and `restore`."""

from base64 import b64encode
from typing import IO

import msgspec
import rich_click as click

from prebook.cli.parking.operations_client import call_operations
from prebook.cli.parking.selection import id_argument, parse_selection, selection_options
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
from prebook.devstack.parameters import json_option, reason_option
from prebook.devstack.terminal import echo


@click.command(epilog=examples("prebook parking note 17 'the fleet sends no price since noon'"))
@id_argument
@click.argument("text")
@json_option()
def note(*, dead_letter_id: int, text: str, as_json: bool) -> None:
    """Add a note to a message."""
    view = call_operations(DeadLetterView, "POST", f"/v1/dead-letters/{dead_letter_id}/notes", NoteRequest(text=text))
    echo(msgspec.json.encode(view) if as_json else f"message {dead_letter_id} has {len(view.notes)} note(s)")


@click.command(
    epilog=examples(
        "prebook parking edit 17 --reason 'complete it' --payload-file corrected.json",
        "prebook parking edit 17 --reason 'known version' --set ce-type=prebook.quote_fare.v1",
        "prebook parking edit 17 --reason 'no such header' --unset x-old",
    )
)
@id_argument
@reason_option("Why it is edited; kept with the version.")
@click.option(
    "--payload-file",
    type=click.File("rb"),
    help="File with the new payload; - is stdin. [default: the payload is unchanged]",
)
@click.option("--set", "headers_to_set", multiple=True, metavar="NAME=VALUE", help="Set a header; repeatable.")
@click.option("--unset", "headers_to_remove", multiple=True, metavar="NAME", help="Remove a header; repeatable.")
@json_option()
def edit(
    *,
    dead_letter_id: int,
    reason: str,
    payload_file: IO[bytes] | None,
    headers_to_set: tuple[str, ...],
    headers_to_remove: tuple[str, ...],
    as_json: bool,
) -> None:
    """Add a new version of a message and keep the original. A replay sends the newest version."""
    headers: dict[str, str | None] = {
        **dict(_parse_header(text) for text in headers_to_set),
        **dict.fromkeys(headers_to_remove),
    }
    payload = _payload(payload_file.read()) if payload_file else None
    request = EditRequest(reason=reason, headers=headers, payload=payload)
    view = call_operations(DeadLetterView, "POST", f"/v1/dead-letters/{dead_letter_id}/versions", request)
    text = f"message {dead_letter_id} is at version {view.summary.version}"
    echo(msgspec.json.encode(view) if as_json else text)


@click.command(
    epilog=examples(
        "prebook parking discard 17 18 --reason test", "prebook parking discard --failure-group 3f1c --reason old"
    )
)
@selection_options
@reason_option("Why they are discarded; shown with each message.")
@json_option()
def discard(*, ids: tuple[int, ...], everything: bool, reason: str, as_json: bool, **filters: str) -> None:
    """Discard messages. They stay visible and can be restored; later messages of the same failure group are kept."""
    request = DiscardRequest(selection=parse_selection(ids, everything, filters), reason=reason)
    _print_changed("discarded", call_operations(ChangedDeadLetters, "POST", "/v1/discards", request), as_json)


@click.command(epilog=examples("prebook parking restore 17", "prebook parking restore --all"))
@selection_options
@json_option()
def restore(*, ids: tuple[int, ...], everything: bool, as_json: bool, **filters: str) -> None:
    """Undo discards: the messages are parked again."""
    request = RestoreRequest(selection=parse_selection(ids, everything, filters))
    _print_changed("restored", call_operations(ChangedDeadLetters, "POST", "/v1/restores", request), as_json)


COMMANDS = (note, edit, discard, restore)


def _print_changed(action: str, changed: ChangedDeadLetters, as_json: bool) -> None:
    echo(msgspec.json.encode(changed) if as_json else f"{action} {len(changed.ids)} message(s)")


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
