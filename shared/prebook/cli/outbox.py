"""`prebook outbox`: what a service could not send, and what to do about it."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.cli import interruption, outbox_acts
from prebook.cli.outbox_access import OPEN, connected, filters, service_argument
from prebook.cli.selecting import as_json_option
from prebook.cli.telling import examples
from prebook.flows import PROCESSES
from prebook.messaging.outbox import DISCARDED
from prebook.postgres.given_up import Content, GivenUp, OutboxRow
from prebook.runtime.stack.trouble import Trouble

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
    rows = interruption.run(_rows(services or PROCESSES, states or OPEN, where, limit))
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
    view = interruption.run(_view(service, row_id))
    click.echo(msgspec.json.encode(view) if as_json else "\n".join(_told(view)))


for command in outbox_acts.COMMANDS:
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
