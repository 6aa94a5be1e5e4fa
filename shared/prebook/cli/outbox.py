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

from prebook.cli import outbox
from prebook.cli.parking.selection import as_json_option
from prebook.cli.settings import told
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import Trouble
from prebook.devstack.suite_state import running
from prebook.flows import PROCESSES
from prebook.messaging.errors import spelled
from prebook.messaging.outbox.store import DISCARDED, EXPIRED, UNDELIVERABLE
from prebook.postgres.outbox_admin import Content, GivenUp, OutboxRow, Refused, Terms, objection
from prebook.runtime import paths
from prebook.runtime.retention import KEEP_INBOX_S

go_option = click.option("--go", is_flag=True, help="Do it; without this nothing is changed.")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``ids``: what was done, or would be done, to the rows with these ids."""

    service: str
    act: str
    dry_run: bool
    ids: list[int]
    refused: list[Refused]


@click.command(
    epilog=examples(
        "prebook outbox resend booking 17                      says what it would send",
        "prebook outbox resend booking 17 18 --go",
        "prebook outbox resend pricing --cause unroutable --go",
        "prebook outbox resend matching --all --revive --go",
    )
)
@selection
@go_option
@click.option("--revive", is_flag=True, help="Also what has expired: it is sent without an end to its time.")
@click.option("--force", is_flag=True, help="Also what is too old for a receiver's inbox to know whether it had it.")
@as_json_option
def resend(
    *,
    service: str,
    ids: tuple[int, ...],
    everything: bool,
    go: bool,
    revive: bool,
    force: bool,
    as_json: bool,
    **given: str,
) -> None:
    """Send rows again, under the same id, order key and headers. Take the cause away first.

    A dry run, unless --go is given. A receiver that had the message before does nothing. Whoever asked a question that
    has expired has gone on without its answer, and a late one changes nothing for him.
    """
    must_select(ids, everything, given)
    terms = Terms(now=datetime.now(UTC), remembered_s=KEEP_INBOX_S, revive=revive, force=force)
    _say(command_line.run(_resent(service, ids, given, terms, go=go)), as_json)


@click.command(epilog=examples("prebook outbox discard booking 17 --reason 'a test' --go"))
@selection
@click.option("--reason", required=True)
@go_option
@as_json_option
def discard(
    *, service: str, ids: tuple[int, ...], everything: bool, reason: str, go: bool, as_json: bool, **given: str
) -> None:
    """Leave rows for good; they are shown with --state discarded, and can be sent again, until they are purged.

    A dry run, unless --go is given.
    """
    must_select(ids, everything, given)
    _say(command_line.run(_discarded(service, ids, given, reason, go=go)), as_json)


COMMANDS = (resend, discard)


async def _resent(service: str, ids: tuple[int, ...], given: dict[str, str], terms: Terms, *, go: bool) -> Report:
    async with connected() as connection:
        outbox = GivenUp(connection, service)
        rows = await selected(outbox, ids, given)
        reasons = {row.id: objection(row, terms) for row in rows}
        fit = [row for row in rows if not reasons[row.id]]
        done = await outbox.resend(fit, revive=terms.revive) if go else [row.id for row in fit]
    return Report(service=service, act="resend", dry_run=not go, ids=done, refused=_refused(rows, done, reasons))


async def _discarded(service: str, ids: tuple[int, ...], given: dict[str, str], reason: str, *, go: bool) -> Report:
    async with connected() as connection:
        outbox = GivenUp(connection, service)
        rows = await selected(outbox, ids, given)
        done = await outbox.discard(rows, reason) if go else [row.id for row in rows]
    return Report(service=service, act="discard", dry_run=not go, ids=done, refused=_refused(rows, done, {}))


def _refused(rows: list[OutboxRow], done: list[int], reasons: dict[int, str]) -> list[Refused]:
    left = sorted({row.id for row in rows} - set(done))
    return [Refused(id=i, reason=reasons.get(i) or "it is not, or no more, among what was given up") for i in left]


def _say(report: Report, as_json: bool) -> None:
    if as_json:
        return click.echo(msgspec.json.encode(report))
    for refused in report.refused:
        click.echo(f"not {refused.id}: {refused.reason}")
    click.echo(f"{report.act}: {len(report.ids)} of {report.service}'s rows{' (dry run; add --go)' * report.dry_run}")
    return None


OPEN = (EXPIRED, UNDELIVERABLE)
"""Given up, and nobody has said yet what is to become of it."""
WITHIN_S = 15.0
HELP = {
    "cause": "Such as unroutable, too_large, nacked, refused or expired.",
    "type": "Type of the message, such as prebook.quote_fare.v1.",
    "flow": "Flow or announcement.",
    "conversation": "Id of the booking.",
    "message_id": "Id of the message.",
}
F = TypeVar("F", bound=Callable[..., Any])


class Named(msgspec.Struct, frozen=True):
    """PREBOOK_DATABASE_URL, or a file of that in PREBOOK_DATABASE_URL_FILE."""

    database_url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^postgresql\+asyncpg://", description="postgresql+asyncpg://admin:password@host/database"
        ),
    ]


@asynccontextmanager
async def connected() -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Where the environment names a database, that one; else the one of the suite that runs here. Raises Trouble."""
    given = {"PREBOOK_DATABASE_URL", "PREBOOK_DATABASE_URL_FILE"} & os.environ.keys()
    url = told(Named).database_url if given else running(paths.home()).database_url
    try:
        connection = await asyncpg.connect(url.replace("+asyncpg", "", 1), timeout=5, command_timeout=WITHIN_S)
        try:
            yield connection
        finally:
            await connection.close(timeout=2)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Trouble(
            f"the database does not answer: {spelled(error)}", "`prebook doctor` tells what is missing"
        ) from error


def filters(command: F) -> F:
    """Keyword arguments named as the keys of HELP, "" where not given."""
    options = [click.option(f"--{name.replace('_', '-')}", name, default="", help=text) for name, text in HELP.items()]
    return reduce(lambda decorated, option: option(decorated), reversed(options), command)


service_argument = click.argument("service", type=click.Choice(PROCESSES))


def selection(command: F) -> F:
    """SERVICE, and of its rows: IDS or filters or --all; hand them to ``selected``."""
    with_all = click.option("--all", "everything", is_flag=True, help="All that this service has given up.")
    ids = click.argument("ids", nargs=-1, type=click.IntRange(min=1))
    return service_argument(ids(filters(with_all(command))))


def must_select(ids: tuple[int, ...], everything: bool, given: dict[str, str]) -> None:
    """Raises UsageError unless it is said in exactly one way."""
    if [bool(ids), everything, any(given.values())].count(True) != 1:
        raise click.UsageError("say which rows: either IDS, or filters such as --cause, or --all")


async def selected(outbox: GivenUp, ids: tuple[int, ...], given: dict[str, str]) -> list[OutboxRow]:
    """Raises Trouble where an id is none of the outbox's."""
    if not ids:
        return await outbox.rows(OPEN, {name: value for name, value in given.items() if value}, None)
    rows = await outbox.these(ids)
    if missing := sorted(set(ids) - {row.id for row in rows}):
        said = ", ".join(map(str, missing))
        raise Trouble(f"there is no row {said} in this outbox", "`prebook outbox list` tells which there are")
    return rows


STATES = ("waiting", *OPEN, DISCARDED)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    rows: list[OutboxRow]
    """The oldest first, service by service."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    row: OutboxRow
    content: Content


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
@filters
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Of each service.")
@as_json_option
def list_(*, services: tuple[str, ...], states: tuple[str, ...], limit: int, as_json: bool, **given: str) -> None:
    """What was given up, the oldest first."""
    where = {name: value for name, value in given.items() if value}
    rows = command_line.run(_rows(services or PROCESSES, states or OPEN, where, limit))
    if as_json:
        click.echo(msgspec.json.encode(Found(rows=rows)))
    else:
        Console().print(_table(rows))


@outbox.command(epilog=examples("prebook outbox show booking 17", "prebook outbox show booking 17 --json | jq .row"))
@service_argument
@click.argument("row_id", metavar="ID", type=click.IntRange(min=1))
@as_json_option
def show(*, service: str, row_id: int, as_json: bool) -> None:
    """All about one row: state, cause, tries, headers, body."""
    view = command_line.run(_view(service, row_id))
    click.echo(msgspec.json.encode(view) if as_json else "\n".join(_told(view)))


for command in outbox.COMMANDS:
    outbox.add_command(command)


async def _rows(services: Iterable[str], states: Iterable[str], where: dict[str, str], limit: int) -> list[OutboxRow]:
    async with connected() as connection:
        found = [await GivenUp(connection, service).rows(list(states), where, limit) for service in services]
    return [row for rows in found for row in rows]


async def _view(service: str, row_id: int) -> View:
    async with connected() as connection:
        store = GivenUp(connection, service)
        rows, content = await store.these([row_id]), await store.content(row_id)
    if not rows or content is None:
        raise Trouble(f"{service}'s outbox has no row {row_id}", "`prebook outbox list` tells which there are")
    return View(row=rows[0], content=content)


def _table(rows: list[OutboxRow]) -> Table:
    table = Table(title=f"{len(rows)} rows")
    for name in ("service", "id", "state", "cause", "type", "conversation", "tries", "age", "error"):
        table.add_column(name, overflow="fold")
    now = datetime.now(UTC)
    for r in rows:
        kept = (r.service, str(r.id), r.state, r.cause or "", r.type, r.conversation, str(r.tries))
        table.add_row(*kept, _age(now, r.created_at), r.error or "")
    return table


def _age(now: datetime, since: datetime) -> str:
    seconds = int((now - since).total_seconds())
    return next((f"{seconds // size} {unit}" for unit, size in UNITS if seconds >= size), "0 s")


UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def _told(view: View) -> Iterable[str]:
    for name, value in msgspec.to_builtins(view.row).items():
        yield f"{name:<16} {'' if value is None else value}"
    yield from (f"header           {name}: {value}" for name, value in sorted(view.content.headers.items()))
    yield f"body             {view.content.body}"
