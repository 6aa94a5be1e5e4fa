"""`prebook parking`: dead letters of the running suite, to inspect, edit, replay and discard."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import rich_click as click
from rich.table import Table

from prebook.cli.parking import changes, replays
from prebook.cli.parking.operations_client import call_operations, stream_operations
from prebook.cli.parking.selection import filter_options, id_argument
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
from prebook.devstack.parameters import given_filters, json_option, state_option
from prebook.devstack.terminal import PlainConsole, echo, echo_lines

STATES = tuple(state.value for state in DeadLetterState)
MAX_SHOWN_CHARS = 2000
PARKING_EXAMPLES = examples(
    "prebook parking failure-groups                             failures by cause and place",
    "prebook parking show 17                                    one message in full",
    "prebook parking replay --failure-group 3f1c9a0b7d42        prints what it would send",
    "prebook parking replay --failure-group 3f1c9a0b7d42 --apply --wait",
)


@click.group(epilog=PARKING_EXAMPLES)
def parking() -> None:
    """Inspect, edit, replay and discard messages that a receiver could not handle (dead letters).

    Inspecting changes nothing, neither at the broker nor at operations.
    """


@parking.command(
    "list", epilog=examples("prebook parking list --queue pricing.requests.quote_fare --json | jq .dead_letters")
)
@state_option(STATES, "Only this state; repeatable. [default: parked and replaying]")
@filter_options
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Maximum number of messages per page."
)
@click.option("--after", default="0", help="Start of the page: `next` of the previous page.")
@json_option()
def list_(*, states: tuple[str, ...], limit: int, after: str, as_json: bool, **filters: str) -> None:
    """List parked messages, the newest first."""
    narrowed = given_filters(filters).items()
    query = [*narrowed, ("limit", limit), ("after", after), *(("in_state", state) for state in states)]
    page = call_operations(DeadLetterPage, "GET", "/v1/dead-letters", query=_repeatable_query(query))
    if as_json:
        return echo(msgspec.json.encode(page))
    PlainConsole().print(_dead_letter_table(page.dead_letters))
    if page.next:
        echo(f"more messages: --after {page.next}")
    return None


@parking.command(
    epilog=examples("prebook parking failure-groups", "prebook parking failure-groups --state discarded --json")
)
@click.option(
    "--state", type=click.Choice(STATES), default="parked", show_default=True, help="Count messages of this state."
)
@json_option()
def failure_groups(*, state: str, as_json: bool) -> None:
    """Count the messages that failed in the same way at the same place."""
    found = call_operations(FailureGroups, "GET", "/v1/dead-letters/groups", query={"in_state": state})
    if as_json:
        return echo(msgspec.json.encode(found))
    rows = (
        (
            group.failure_group,
            str(group.messages),
            group.cause,
            group.type,
            group.queue,
            _time_text(group.oldest),
            _time_text(group.newest),
            group.error,
        )
        for group in found.groups
    )
    columns = ("failure group", "messages", "cause", "type", "queue", "oldest", "newest", "error")
    return PlainConsole().print(_table(f"{found.messages} messages", columns, rows))


@parking.command(epilog=examples("prebook parking show 17", "prebook parking show 17 --json | jq -r .payload.text"))
@id_argument
@json_option()
def show(*, dead_letter_id: int, as_json: bool) -> None:
    """Print one message in full: cause, headers, payload, versions, notes and each failure."""
    view = call_operations(DeadLetterView, "GET", f"/v1/dead-letters/{dead_letter_id}")
    if as_json:
        echo(msgspec.json.encode(view))
    else:
        echo_lines(_view_lines(view))


@parking.command(epilog=examples("prebook parking export > parked.ndjson"))
def export() -> None:
    """Write everything about every message to stdout, one JSON document per line."""
    command_line.run_interruptible(_print_export())


async def _print_export() -> None:
    async for chunk in stream_operations("/v1/dead-letters/export"):
        echo(chunk, nl=False)


for command in (*changes.COMMANDS, *replays.COMMANDS):
    parking.add_command(command)


def _repeatable_query(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
    """Return a query in which a name may occur several times."""
    query: dict[str, list[str]] = {}
    for name, value in pairs:
        query.setdefault(name, []).append(str(value))
    return query


def _dead_letter_table(dead_letters: tuple[DeadLetterSummary, ...]) -> Table:
    rows = (
        (str(x.id), x.state, x.cause, x.queue, x.message_id, str(x.attempts), _time_text(x.last_failed_at), x.error)
        for x in dead_letters
    )
    columns = ("id", "state", "cause", "queue", "message", "attempts", "failed", "error")
    return _table(f"{len(dead_letters)} messages", columns, rows)


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
    yield from (f"failure          {f.at.isoformat()} {f.cause} {f.replay} {f.error}" for f in view.failures)
    yield from (f"note             {note.at.isoformat()} {note.operator}: {note.text}" for note in view.notes)
    yield from (f"version {v.number:<8} {v.operator}: {v.reason}: {_payload_text(v.payload)}" for v in view.versions)
    yield from (f"replay           {replay_id}" for replay_id in view.replays)
    yield f"payload          {_payload_text(view.payload)}"


def _payload_text(payload: Payload) -> str:
    text = payload.text if payload.text is not None else f"(base64) {payload.base64}"
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}... (--json shows all)"


def _time_text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")
