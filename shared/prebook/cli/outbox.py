"""`prebook outbox`: what a service could not send, and what to do about it."""

import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import reduce
from typing import Annotated, Any, TypeVar

import asyncpg
import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.cli.parking.selection import json_option
from prebook.cli.settings import read_settings
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.suite_state import read_suite_state
from prebook.flows import PROCESSES
from prebook.messaging.errors import error_summary
from prebook.messaging.outbox.store import DISCARDED, EXPIRED, UNDELIVERABLE
from prebook.postgres.outbox_admin import (
    IneligibleRow,
    MessageContent,
    OutboxAdmin,
    OutboxReplayPolicy,
    OutboxRow,
    ineligible_reason,
)
from prebook.runtime import paths
from prebook.runtime.retention import INBOX_DEDUP_S

UNRESOLVED_STATES = (EXPIRED, UNDELIVERABLE)
"""Given up, and nobody has said yet what is to become of it."""
STATEMENT_TIMEOUT_S = 15.0
FILTER_HELP = {
    "cause": "Such as unroutable, too_large, nacked, refused or expired.",
    "type": "Type of the message, such as prebook.quote_fare.v1.",
    "flow": "Flow or announcement.",
    "conversation": "Id of the booking.",
    "message_id": "Id of the message.",
}
F = TypeVar("F", bound=Callable[..., Any])


class DatabaseSettings(msgspec.Struct, frozen=True):
    """PREBOOK_DATABASE_URL, or a file of that in PREBOOK_DATABASE_URL_FILE."""

    database_url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^postgresql\+asyncpg://", description="postgresql+asyncpg://admin:password@host/database"
        ),
    ]


@asynccontextmanager
async def connect_database() -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Where the environment names a database, that one; else the one of the suite that runs here. Raises Trouble."""
    given = {"PREBOOK_DATABASE_URL", "PREBOOK_DATABASE_URL_FILE"} & os.environ.keys()
    url = read_settings(DatabaseSettings).database_url if given else read_suite_state(paths.home_dir()).database_url
    try:
        connection = await asyncpg.connect(
            url.replace("+asyncpg", "", 1), timeout=5, command_timeout=STATEMENT_TIMEOUT_S
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=2)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UserError(
            f"the database does not answer: {error_summary(error)}", "`prebook doctor` tells what is missing"
        ) from error


def filter_options(command: F) -> F:
    """Keyword arguments named as the keys of HELP, "" where not given."""
    options = [
        click.option(f"--{name.replace('_', '-')}", name, default="", help=text) for name, text in FILTER_HELP.items()
    ]
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


service_argument = click.argument("service", type=click.Choice(PROCESSES))


def row_selection_options(command: F) -> F:
    """SERVICE, and of its rows: IDS or filters or --all; hand them to ``selected``."""
    with_all = click.option("--all", "everything", is_flag=True, help="All that this service has given up.")
    ids = click.argument("ids", nargs=-1, type=click.IntRange(min=1))
    return service_argument(ids(filter_options(with_all(command))))


def require_one_selection(ids: tuple[int, ...], everything: bool, filters: dict[str, str]) -> None:
    """Raises UsageError unless it is said in exactly one way."""
    if [bool(ids), everything, any(filters.values())].count(True) != 1:
        raise click.UsageError("say which rows: either IDS, or filters such as --cause, or --all")


async def read_selected_rows(outbox: OutboxAdmin, ids: tuple[int, ...], filters: dict[str, str]) -> list[OutboxRow]:
    """Raises Trouble where an id is none of the outbox's."""
    if not ids:
        return await outbox.list_rows(
            UNRESOLVED_STATES, {name: value for name, value in filters.items() if value}, None
        )
    rows = await outbox.find_rows(ids)
    if missing := sorted(set(ids) - {row.id for row in rows}):
        said = ", ".join(map(str, missing))
        raise UserError(f"there is no row {said} in this outbox", "`prebook outbox list` tells which there are")
    return rows


apply_option = click.option("--go", is_flag=True, help="Do it; without this nothing is changed.")


class OutboxChangeReport(msgspec.Struct, frozen=True, kw_only=True):
    """``ids``: what was done, or would be done, to the rows with these ids."""

    service: str
    action: str
    dry_run: bool
    ids: list[int]
    refused: list[IneligibleRow]


@click.command(
    epilog=examples(
        "prebook outbox resend booking 17                      says what it would send",
        "prebook outbox resend booking 17 18 --go",
        "prebook outbox resend pricing --cause unroutable --go",
        "prebook outbox resend matching --all --revive --go",
    )
)
@row_selection_options
@apply_option
@click.option("--revive", is_flag=True, help="Also what has expired: it is sent without an end to its time.")
@click.option("--force", is_flag=True, help="Also what is too old for a receiver's inbox to know whether it had it.")
@json_option
def resend(
    *,
    service: str,
    ids: tuple[int, ...],
    everything: bool,
    apply: bool,
    ignore_expiry: bool,
    force: bool,
    as_json: bool,
    **given: str,
) -> None:
    """Send rows again, under the same id, order key and headers. Take the cause away first.

    A dry run, unless --go is given. A receiver that had the message before does nothing. Whoever asked a question that
    has expired has gone on without its answer, and a late one changes nothing for him.
    """
    require_one_selection(ids, everything, given)
    terms = OutboxReplayPolicy(
        now=datetime.now(UTC), inbox_dedup_s=INBOX_DEDUP_S, ignore_expiry=ignore_expiry, force=force
    )
    _print_report(command_line.run_interruptible(_resend(service, ids, given, terms, apply=apply)), as_json)


@click.command(epilog=examples("prebook outbox discard booking 17 --reason 'a test' --go"))
@row_selection_options
@click.option("--reason", required=True)
@apply_option
@json_option
def discard(
    *, service: str, ids: tuple[int, ...], everything: bool, reason: str, apply: bool, as_json: bool, **given: str
) -> None:
    """Leave rows for good; they are shown with --state discarded, and can be sent again, until they are purged.

    A dry run, unless --go is given.
    """
    require_one_selection(ids, everything, given)
    _print_report(command_line.run_interruptible(_discard(service, ids, given, reason, apply=apply)), as_json)


COMMANDS = (resend, discard)


async def _resend(
    service: str, ids: tuple[int, ...], filters: dict[str, str], policy: OutboxReplayPolicy, *, apply: bool
) -> OutboxChangeReport:
    async with connect_database() as connection:
        outbox = OutboxAdmin(connection, service)
        rows = await read_selected_rows(outbox, ids, filters)
        reasons = {row.id: ineligible_reason(row, policy) for row in rows}
        fit = [row for row in rows if not reasons[row.id]]
        done = await outbox.resend(fit, ignore_expiry=policy.ignore_expiry) if apply else [row.id for row in fit]
    return OutboxChangeReport(
        service=service, action="resend", dry_run=not apply, ids=done, refused=_refusals(rows, done, reasons)
    )


async def _discard(
    service: str, ids: tuple[int, ...], filters: dict[str, str], reason: str, *, apply: bool
) -> OutboxChangeReport:
    async with connect_database() as connection:
        outbox = OutboxAdmin(connection, service)
        rows = await read_selected_rows(outbox, ids, filters)
        done = await outbox.discard(rows, reason) if apply else [row.id for row in rows]
    return OutboxChangeReport(
        service=service, action="discard", dry_run=not apply, ids=done, refused=_refusals(rows, done, {})
    )


def _refusals(rows: list[OutboxRow], done: list[int], reasons: dict[int, str]) -> list[IneligibleRow]:
    left = sorted({row.id for row in rows} - set(done))
    return [
        IneligibleRow(id=i, reason=reasons.get(i) or "it is not, or no more, among what was given up") for i in left
    ]


def _print_report(report: OutboxChangeReport, as_json: bool) -> None:
    if as_json:
        return click.echo(msgspec.json.encode(report))
    for refused in report.refused:
        click.echo(f"not {refused.id}: {refused.reason}")
    click.echo(
        f"{report.action}: {len(report.ids)} of {report.service}'s rows{' (dry run; add --go)' * report.dry_run}"
    )
    return None


STATES = ("waiting", *UNRESOLVED_STATES, DISCARDED)


class OutboxListing(msgspec.Struct, frozen=True, kw_only=True):
    rows: list[OutboxRow]
    """The oldest first, service by service."""


class OutboxRowView(msgspec.Struct, frozen=True, kw_only=True):
    row: OutboxRow
    content: MessageContent


@click.group(
    epilog=examples(
        "prebook outbox list                                     what was given up, where, and why",
        "prebook outbox show booking 17                          all about one row",
        "prebook outbox resend booking --cause unroutable        says what it would send",
        "prebook outbox resend booking --cause unroutable --go",
    )
)
def outbox() -> None:
    """Messages that a service could not send: look at them, send them again, leave them.

    What a receiver could not handle is `prebook parking`.
    """


@outbox.command("list", epilog=examples("prebook outbox list --service booking --state waiting --json | jq .rows"))
@click.option("--service", "services", type=click.Choice(PROCESSES), multiple=True, help="Default: all.")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Default: expired, undeliverable.")
@filter_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Of each service.")
@json_option
def list_(*, services: tuple[str, ...], states: tuple[str, ...], limit: int, as_json: bool, **given: str) -> None:
    """What was given up, the oldest first."""
    where = {name: value for name, value in given.items() if value}
    rows = command_line.run_interruptible(_read_rows(services or PROCESSES, states or UNRESOLVED_STATES, where, limit))
    if as_json:
        click.echo(msgspec.json.encode(OutboxListing(rows=rows)))
    else:
        Console().print(_table(rows))


@outbox.command(epilog=examples("prebook outbox show booking 17", "prebook outbox show booking 17 --json | jq .row"))
@service_argument
@click.argument("row_id", metavar="ID", type=click.IntRange(min=1))
@json_option
def show(*, service: str, row_id: int, as_json: bool) -> None:
    """All about one row: state, cause, tries, headers, body."""
    view = command_line.run_interruptible(_read_view(service, row_id))
    click.echo(msgspec.json.encode(view) if as_json else "\n".join(_view_lines(view)))


for command in COMMANDS:
    outbox.add_command(command)


async def _read_rows(
    services: Iterable[str], states: Iterable[str], filters: dict[str, str], limit: int
) -> list[OutboxRow]:
    async with connect_database() as connection:
        found = [await OutboxAdmin(connection, service).list_rows(list(states), filters, limit) for service in services]
    return [row for rows in found for row in rows]


async def _read_view(service: str, row_id: int) -> OutboxRowView:
    async with connect_database() as connection:
        store = OutboxAdmin(connection, service)
        rows, content = await store.find_rows([row_id]), await store.read_content(row_id)
    if not rows or content is None:
        raise UserError(f"{service}'s outbox has no row {row_id}", "`prebook outbox list` tells which there are")
    return OutboxRowView(row=rows[0], content=content)


def _table(rows: list[OutboxRow]) -> Table:
    table = Table(title=f"{len(rows)} rows")
    for name in ("service", "id", "state", "cause", "type", "conversation", "tries", "age", "error"):
        table.add_column(name, overflow="fold")
    now = datetime.now(UTC)
    for r in rows:
        kept = (r.service, str(r.id), r.state, r.cause or "", r.type, r.conversation_id, str(r.failures))
        table.add_row(*kept, _age(now, r.created_at), r.error or "")
    return table


def _age(now: datetime, since: datetime) -> str:
    seconds = int((now - since).total_seconds())
    return next((f"{seconds // size} {unit}" for unit, size in AGE_UNITS if seconds >= size), "0 s")


AGE_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def _view_lines(view: OutboxRowView) -> Iterable[str]:
    for name, value in msgspec.to_builtins(view.row).items():
        yield f"{name:<16} {'' if value is None else value}"
    yield from (f"header           {name}: {value}" for name, value in sorted(view.content.headers.items()))
    yield f"body             {view.content.body}"
