"""The outboxes of the running suite, over an administrator's connection, and options that say which rows are meant."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import reduce
from typing import Annotated, Any, TypeVar

import asyncpg
import msgspec
import rich_click as click

from prebook.cli.variables import told
from prebook.cli.whereabouts import running
from prebook.flows import PROCESSES
from prebook.messaging.failures import spelled
from prebook.messaging.outbox import EXPIRED, UNDELIVERABLE
from prebook.postgres.given_up import GivenUp, OutboxRow
from prebook.runtime import places
from prebook.runtime.stack.trouble import Trouble

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
    url = told(Named).database_url if given else running(places.home()).database_url
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
