"""`prebook trace`: the timeline of one booking or trip of the running suite."""

import shutil
from collections.abc import Iterator
from datetime import datetime

import msgspec
import rich_click as click
from rich.box import SIMPLE
from rich.table import Table

from prebook.cli.suite_access import ServicesAccess, find_services
from prebook.contracts.booking import ClockFigures
from prebook.contracts.conversations import Stage
from prebook.contracts.plan import plan_label
from prebook.control_room.conversation_routes import AMBIGUOUS_REMEDY, UNKNOWN_REMEDY
from prebook.control_room.conversation_timeline import Attempt, MessageTrace
from prebook.control_room.conversations import (
    AmbiguousReference,
    ConversationReader,
    ConversationTimeline,
    UnknownReference,
)
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.http.client import create_http_client
from prebook.messaging.errors import Unreachable

MS_PER_S = 1000
MIN_WIDTH = 124
"""Columns that the table needs; a narrower terminal breaks its lines."""
EXAMPLES = examples(
    "prebook trace bk_01a2b3c4d5e6f708192a3b4c5d6e7f80",
    "prebook trace calm-000017                                   by Idempotency-Key",
    "prebook trace bk_01a2b3c4d5e6f708192a3b4c5d6e7f80.quote_fare  by the id of a message, as in a log line",
    "prebook trace --json calm-000017 | jq '.messages[] | {name, kind, queue_s, processing_s}'",
)


@click.command(epilog=EXAMPLES)
@click.argument("reference", metavar="ID")
@json_option()
def trace(*, reference: str, as_json: bool) -> None:
    """Show every message of one booking or trip: from and to whom, its waits, its attempts and what became of it.

    ID is the id of a booking, trip or message, or the Idempotency-Key of a booking or trip. OUTBOX is the wait before
    a message left its sender, QUEUE the time from then until its handling began, PROCESSING the handling. A tilde marks
    times from the tables: the process that handled the message no longer remembers it.
    """
    timeline = command_line.run_interruptible(_read_timeline(find_services(), reference))
    if as_json:
        echo(msgspec.json.encode(timeline))
        return
    echo(_summary_text(timeline))
    columns, lines = shutil.get_terminal_size()
    PlainConsole(width=max(columns, MIN_WIDTH), height=lines).print(_table(timeline))
    for line in _notes(timeline):
        echo(line)


async def _read_timeline(services: ServicesAccess, reference: str) -> ConversationTimeline:
    async with create_http_client() as client:
        try:
            reader = ConversationReader(client, services.internal_urls, lambda: services.console_secrets)
            return await reader.read(reference)
        except UnknownReference as error:
            raise UserError(f"nothing is known of {error}", UNKNOWN_REMEDY) from None
        except AmbiguousReference as error:
            raise UserError(f"{reference} leads to {error}", AMBIGUOUS_REMEDY) from None
        except Unreachable as error:
            remedy = "`prebook doctor` shows which service is not ready; try again when all are"
            raise UserError(f"the suite does not answer: {error}", remedy) from error


def _summary_text(timeline: ConversationTimeline) -> str:
    begin = timeline.requested_at
    lines = [
        f"{timeline.id}: {timeline.state}{f' ({timeline.reason})' if timeline.reason else ''}, plan {timeline.plan}",
        f"settled after {_span(begin, timeline.settled_at)}, rider notified after {_span(begin, timeline.notified_at)}",
    ]
    if timeline.related:
        lines.append(f"belongs together with {', '.join(timeline.related)}")
    return "\n".join(lines)


def _table(timeline: ConversationTimeline) -> Table:
    table = Table(box=SIMPLE)
    for column in ("", "message", "from", "to"):
        table.add_column(column)
    for column in ("at", "outbox", "queue", "processing"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("state")
    for message in timeline.messages:
        table.add_row(*_cells(message, timeline.requested_at))
    return table


def _cells(message: MessageTrace, begin: datetime) -> Iterator[str]:
    yield str(message.number)
    yield " ".join(filter(None, (message.name, message.key, message.kind.value)))
    yield message.sender
    yield message.receiver or "-"
    yield _span(begin, message.created_at)
    for seconds in (message.outbox_s, message.queue_s, message.processing_s):
        yield "-" if seconds is None else f"{'' if message.is_measured else '~'}{_milliseconds(seconds)}"
    yield "timed out" if message.is_timeout else message.state


def _notes(timeline: ConversationTimeline) -> Iterator[str]:
    for message in timeline.messages:
        for attempt in message.attempts:
            yield f"{message.number}: {_describe(attempt, timeline.requested_at)}"
        if message.error and not message.attempts:
            yield f"{message.number}: {message.error}"
    if timeline.trace_ids:
        yield f"log lines: trace_id {', '.join(timeline.trace_ids)}, conversation_id {timeline.id}"
    for plan in timeline.plans:
        clocks = f"settled {_quantiles(plan.settled)}, rider notified {_quantiles(plan.notified)}"
        yield f"plan {plan_label(plan.couplings)}, last {timeline.clock_window_s} s: {clocks}"
    for process, reason in timeline.missing.items():
        yield f"incomplete: {process} did not answer: {reason}"
    if not timeline.is_complete and not timeline.missing:
        yield "incomplete: there are more records than are shown"


def _describe(attempt: Attempt, begin: datetime) -> str:
    delay = f", next attempt after {_milliseconds(attempt.seconds)}" if attempt.stage is Stage.RETRIED else ""
    detail = f": {attempt.detail}" if attempt.detail else ""
    stage = attempt.stage.value.replace("_", " ")
    return f"{stage} at {attempt.service} after {_span(begin, attempt.at)}, attempt {attempt.attempt}{delay}{detail}"


def _quantiles(clock: ClockFigures) -> str:
    return f"p50 {clock.p50_ms:.0f} ms, p99 {clock.p99_ms:.0f} ms of {clock.count}" if clock.count else "-"


def _span(begin: datetime, end: datetime | None) -> str:
    return _milliseconds((end - begin).total_seconds()) if end else "-"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * MS_PER_S:.1f} ms"
