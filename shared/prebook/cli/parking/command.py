"""`prebook parking`: what could not be handled, and what to do about it."""

from collections.abc import Iterable
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.cli.parking import changes, replays
from prebook.cli.parking.operations_client import call_operations, stream_operations
from prebook.cli.parking.selection import filter_options, json_option
from prebook.contracts.dead_letters import (
    DeadLetterPage,
    DeadLetterState,
    DeadLetterSummary,
    DeadLetterView,
    FailureGroups,
    Payload,
)
from prebook.devstack import command_line
from prebook.devstack.command_line import examples

STATES = [state.value for state in DeadLetterState]
MAX_SHOWN_CHARS = 2000
PARKING_EXAMPLES = examples(
    "prebook parking groups                          what fails, where, how often",
    "prebook parking show 17                         all about one message",
    "prebook parking replay --group 3f1c9a0b7d42     says what it would send",
    "prebook parking replay --group 3f1c9a0b7d42 --go --wait",
)


@click.group(epilog=PARKING_EXAMPLES)
def parking() -> None:
    """Messages that could not be handled: look at them, mend them, send them again.

    Looking changes nothing, at the broker or anywhere.
    """


@parking.command("list", epilog=examples("prebook parking list --queue pricing.requests.quote_fare --json | jq .lines"))
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Default: parked and replaying.")
@filter_options
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", default="0", help="`next` of the page before.")
@json_option
def list_(*, states: tuple[str, ...], limit: int, after: str, as_json: bool, **given: str) -> None:
    """Parked messages, the newest first."""
    narrowed = [(name, value) for name, value in given.items() if value]
    query = [*narrowed, ("limit", limit), ("after", after), *(("in_state", state) for state in states)]
    page = call_operations(DeadLetterPage, "GET", "/v1/parked", query=_repeatable_query(query))
    if as_json:
        return click.echo(msgspec.json.encode(page))
    Console().print(_parked_table(page.dead_letters))
    if page.next:
        click.echo(f"there are more: --after {page.next}")
    return None


@parking.command(epilog=examples("prebook parking groups", "prebook parking groups --state discarded --json"))
@click.option("--state", type=click.Choice(STATES), default="parked", show_default=True)
@json_option
def failure_groups(*, state: str, as_json: bool) -> None:
    """How many messages failed in the same way, at the same place."""
    found = call_operations(FailureGroups, "GET", "/v1/parked/groups", query={"in_state": state})
    if as_json:
        return click.echo(msgspec.json.encode(found))
    rows = (
        (
            g.failure_group,
            str(g.messages),
            g.cause,
            g.type,
            g.queue,
            _time_text(g.oldest),
            _time_text(g.newest),
            g.error,
        )
        for g in found.groups
    )
    names = ("group", "messages", "cause", "type", "queue", "oldest", "newest", "error")
    return Console().print(_table(f"{found.messages} messages", names, rows))


@parking.command(epilog=examples("prebook parking show 17", "prebook parking show 17 --json | jq -r .payload.text"))
@click.argument("parked_id", metavar="ID", type=click.IntRange(min=1))
@json_option
def show(*, parked_id: int, as_json: bool) -> None:
    """All about one message: cause, headers, payload, edits, notes, and each time it was parked."""
    view = call_operations(DeadLetterView, "GET", f"/v1/parked/{parked_id}")
    click.echo(msgspec.json.encode(view) if as_json else "\n".join(_view_lines(view)))


@parking.command(epilog=examples("prebook parking export > parked.ndjson"))
def export() -> None:
    """All about every message, one JSON document a line, on stdout."""
    command_line.run_interruptible(_print_export())


async def _print_export() -> None:
    async for chunk in stream_operations("/v1/parked/export"):
        click.echo(chunk, nl=False)


for command in (*changes.COMMANDS, *replays.COMMANDS):
    parking.add_command(command)


def _repeatable_query(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
    """A query in which a name may come several times."""
    query: dict[str, list[str]] = {}
    for name, value in pairs:
        query.setdefault(name, []).append(str(value))
    return query


def _parked_table(lines: tuple[DeadLetterSummary, ...]) -> Table:
    rows = (
        (str(x.id), x.state, x.cause, x.queue, x.message_id, str(x.attempts), _time_text(x.last_failed_at), x.error)
        for x in lines
    )
    names = ("id", "state", "cause", "queue", "message", "attempts", "failed", "error")
    return _table(f"{len(lines)} messages", names, rows)


def _table(title: str, columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(title=title)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _view_lines(view: DeadLetterView) -> Iterable[str]:
    for name, value in msgspec.to_builtins(view.summary).items():
        yield f"{name:<16} {value}"
    yield from (f"header           {name}: {value}" for name, value in sorted(view.headers.items()))
    yield from (f"parked           {p.at.isoformat()} {p.cause} {p.replay} {p.error}" for p in view.failures)
    yield from (f"note             {note.at.isoformat()} {note.text}" for note in view.notes)
    yield from (f"version {v.number:<8} {v.reason}: {_payload_text(v.payload)}" for v in view.versions)
    yield from (f"replay           {replay_id}" for replay_id in view.replays)
    yield f"payload          {_payload_text(view.payload)}"


def _payload_text(payload: Payload) -> str:
    text = payload.text if payload.text is not None else f"(base64) {payload.base64}"
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}... (--json shows all)"


def _time_text(at: Any) -> str:
    return str(at.isoformat(timespec="seconds"))
