"""`prebook ledger`: what became of the bookings of the running suite."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar

import aiohttp
import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from prebook.contracts.booking import DeliveryPage, LedgerEntry, LedgerPage
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.suite_state import read_suite_state
from prebook.runtime import paths

PAGE_SIZE = 1000
REQUEST_TIMEOUT_S = 15.0
P = TypeVar("P", LedgerPage, DeliveryPage)
EXAMPLES = examples(
    "prebook ledger",
    "prebook ledger --prefix calm-",
    "prebook ledger --json | jq .told",
)


class LedgerCount(msgspec.Struct, frozen=True):
    """How many bookings of one plan are in one state."""

    plan: str
    state: str
    bookings: int


class LedgerSummary(msgspec.Struct, frozen=True):
    """``told``: bookings whose rider notification's log knows; ``doubled``: notices that took effect more than once."""

    bookings: int
    notified: int
    doubled: int
    rows: tuple[LedgerCount, ...]


@click.command(epilog=EXAMPLES)
@click.option("--prefix", default="", help="Only bookings whose Idempotency-Key begins so.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON document on stdout.")
def ledger(*, prefix: str, as_json: bool) -> None:
    """Count the bookings of the running suite by plan and state, and those whose rider has been told."""
    account = command_line.run_interruptible(_read_summary(read_suite_state(paths.home_dir()).urls, prefix))
    if as_json:
        click.echo(msgspec.json.encode(account))
    else:
        Console().print(_table(account))


async def _read_summary(urls: Mapping[str, str], prefix: str) -> LedgerSummary:
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
        try:
            ledger_pages = _fetch_pages(session, f"{urls['booking']}/v1/ledger", LedgerPage, {"prefix": prefix})
            lines = [line async for page in ledger_pages for line in page.entries]
            log_pages = _fetch_pages(session, f"{urls['notification']}/v1/deliveries", DeliveryPage, {})
            told = [line async for page in log_pages for line in page.entries]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            remedy = "`prebook doctor` tells which service is not ready; try again when it is"
            raise UserError(f"the suite does not answer: {error}", remedy) from error
    ids = {line.booking_id for line in lines}
    ours = [line for line in told if line.booking_id in ids]
    counts = Counter((plan_label(line), str(line.state)) for line in lines)
    rows = tuple(LedgerCount(name, state, count) for (name, state), count in sorted(counts.items()))
    doubled = sum(line.times_delivered != 1 for line in ours)
    return LedgerSummary(len(lines), len({line.booking_id for line in ours}), doubled, rows)


def plan_label(line: LedgerEntry) -> str:
    """The coupling where it is the same in every flow, else each flow's."""
    couplings = set(line.couplings.values())
    if len(couplings) == 1:
        return str(*couplings)
    return ", ".join(f"{flow}={coupling}" for flow, coupling in sorted(line.couplings.items()))


async def _fetch_pages(
    session: aiohttp.ClientSession, url: str, page_type: type[P], query: Mapping[str, str]
) -> AsyncIterator[P]:
    after: str | None = None
    while True:
        asked = {**query, "limit": str(PAGE_SIZE)} | ({"after": after} if after else {})
        async with session.get(url, params=asked) as answer:
            page = msgspec.json.decode(await answer.read(), type=page_type)
        yield page
        after = page.next
        if after is None:
            return


def _table(account: LedgerSummary) -> Table:
    summary = f"{account.bookings} bookings, {account.notified} riders told, {account.doubled} notices doubled"
    table = Table(title="Ledger", caption=summary)
    table.add_column("plan")
    table.add_column("state")
    table.add_column("bookings", justify="right")
    for row in account.rows:
        table.add_row(row.plan, row.state, str(row.bookings))
    return table
