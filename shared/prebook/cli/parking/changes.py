"""`prebook parking note|edit|discard|restore`."""

from base64 import b64encode
from typing import IO

import msgspec
import rich_click as click

from prebook.cli.parking.operations_client import asked
from prebook.cli.parking.selection import as_json_option, selected, selection
from prebook.contracts.dead_letters import (
    Changed,
    DiscardRequest,
    EditRequest,
    NoteRequest,
    ParkedView,
    Payload,
    RestoreRequest,
)
from prebook.devstack.command_line import examples

one = click.argument("parked_id", metavar="ID", type=click.IntRange(min=1))


@click.command(epilog=examples("prebook parking note 17 'the fleet sends no price since noon'"))
@one
@click.argument("text")
@as_json_option
def note(*, parked_id: int, text: str, as_json: bool) -> None:
    """Write something down about a message."""
    view = asked(ParkedView, "POST", f"/v1/parked/{parked_id}/notes", NoteRequest(text=text))
    click.echo(msgspec.json.encode(view) if as_json else f"message {parked_id} has {len(view.notes)} note(s)")


@click.command(
    epilog=examples(
        "prebook parking edit 17 --reason 'complete it' --payload-file mended.json",
        "prebook parking edit 17 --reason 'known version' --set ce-type=prebook.quote_fare.v1",
        "prebook parking edit 17 --reason 'no such header' --unset x-old",
    )
)
@one
@click.option("--reason", required=True)
@click.option(
    "--payload-file", type=click.File("rb"), help="The new payload; - is stdin. Without it the payload stays."
)
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="A header.")
@click.option("--unset", "unsets", multiple=True, metavar="NAME", help="Take a header away.")
@as_json_option
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
    headers: dict[str, str | None] = {**dict(_pair(text) for text in sets), **dict.fromkeys(unsets)}
    payload = _payload(payload_file.read()) if payload_file else None
    request = EditRequest(reason=reason, headers=headers, payload=payload)
    view = asked(ParkedView, "POST", f"/v1/parked/{parked_id}/versions", request)
    click.echo(msgspec.json.encode(view) if as_json else f"message {parked_id} is at version {view.line.version}")


@click.command(
    epilog=examples("prebook parking discard 17 18 --reason test", "prebook parking discard --group 3f1c --reason old")
)
@selection
@click.option("--reason", required=True)
@as_json_option
def discard(*, ids: tuple[int, ...], everything: bool, reason: str, as_json: bool, **given: str) -> None:
    """Set messages aside for good. They stay, and can be restored; later ones of the same group are not touched."""
    request = DiscardRequest(selection=selected(ids, everything, given), reason=reason)
    _said("discarded", asked(Changed, "POST", "/v1/discards", request), as_json)


@click.command(epilog=examples("prebook parking restore 17", "prebook parking restore --all"))
@selection
@as_json_option
def restore(*, ids: tuple[int, ...], everything: bool, as_json: bool, **given: str) -> None:
    """Take discards back."""
    request = RestoreRequest(selection=selected(ids, everything, given))
    _said("restored", asked(Changed, "POST", "/v1/restores", request), as_json)


COMMANDS = (note, edit, discard, restore)


def _said(done: str, changed: Changed, as_json: bool) -> None:
    click.echo(msgspec.json.encode(changed) if as_json else f"{done} {len(changed.ids)} message(s)")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.UsageError(f"--set {text}: write NAME=VALUE")
    return name, value


def _payload(content: bytes) -> Payload:
    try:
        return Payload(text=content.decode())
    except UnicodeDecodeError:
        return Payload(base64=b64encode(content).decode())
