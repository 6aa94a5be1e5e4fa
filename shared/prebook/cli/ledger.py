"""`prebook ledger`: the outcome of every booking and trip of the running suite."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import TypeVar

import httpx
import msgspec
import rich_click as click
from rich.table import Table

from prebook.cli.suite_access import ServicesAccess, find_services
from prebook.contracts.auctions import (
    OFFER_COLUMNS,
    AuctionPage,
    OfferCounts,
    completion_text,
    count_offers,
    offer_rows,
)
from prebook.contracts.booking import DeliveryPage, LedgerPage
from prebook.contracts.plan import plan_label
from prebook.contracts.trip_http import TripLedgerEntry, TripLedgerPage
from prebook.devstack import command_line
from prebook.devstack.command_line import examples
from prebook.devstack.errors import UserError
from prebook.devstack.pages import follow_pages
from prebook.devstack.parameters import json_option
from prebook.devstack.terminal import PlainConsole, echo
from prebook.flows import CONSOLE
from prebook.http.client import create_http_client, limit_exchange
from prebook.http.signed_client import CallAuth
from prebook.messaging.errors import Unreachable

PAGE_SIZE = 1000
REQUEST_TIMEOUT_S = 15.0
P = TypeVar("P", LedgerPage, TripLedgerPage, DeliveryPage, AuctionPage)
EXAMPLES = examples(
    "prebook ledger",
    "prebook ledger --prefix calm-",
    "prebook ledger --json | jq .notified",
)


class LedgerCount(msgspec.Struct, frozen=True):
    """Number of bookings of one plan in one state."""

    plan: str
    state: str
    bookings: int


class TripCount(msgspec.Struct, frozen=True):
    """Number of trips of one policy in one state; ``completed_by``: what decided their outcome, null while open."""

    policy: str
    state: str
    completed_by: str | None
    trips: int


class LedgerSummary(msgspec.Struct, frozen=True):
    """Counts of bookings, legs of trips included, and of trips.

    ``notified``: bookings and trips whose rider has a notice in notification's log (a leg never has one);
    ``duplicated``: notices that took effect more than once.
    """

    bookings: int
    notified: int
    duplicated: int
    rows: tuple[LedgerCount, ...]
    trips: tuple[TripCount, ...] = ()
    offers: OfferCounts | None = None
    """Replies of the fleets to the auctions of the bookings."""


@click.command(epilog=EXAMPLES)
@click.option("--prefix", default="", help="Only bookings and trips whose Idempotency-Key begins with this text.")
@json_option()
def ledger(*, prefix: str, as_json: bool) -> None:
    """Count the bookings of the running suite by plan and state, the trips and auctions by what completed them, the
    notices, and the fleets' replies by what became of them."""
    summary = command_line.run_interruptible(_read_summary(find_services(), prefix))
    if as_json:
        echo(msgspec.json.encode(summary))
    else:
        PlainConsole().print(_table(summary))
        if summary.trips:
            PlainConsole().print(_trips_table(summary))
        if summary.offers:
            PlainConsole().print(_offers_table(summary.offers))


async def _read_summary(services: ServicesAccess, prefix: str) -> LedgerSummary:
    urls = services.internal_urls
    booking, notification, matching = (
        CallAuth(CONSOLE, services.console_secrets, service) for service in ("booking", "notification", "matching")
    )
    async with create_http_client() as client:
        try:
            ledger_pages = _fetch_pages(client, f"{urls['booking']}/v1/ledger", booking, LedgerPage, {"prefix": prefix})
            entries = [entry async for page in ledger_pages for entry in page.entries]
            trips_url = f"{urls['booking']}/v1/ledger/trips"
            trip_pages = _fetch_pages(client, trips_url, booking, TripLedgerPage, {"prefix": prefix})
            trips = [trip async for page in trip_pages for trip in page.entries]
            deliveries_url = f"{urls['notification']}/v1/deliveries"
            delivery_pages = _fetch_pages(client, deliveries_url, notification, DeliveryPage, {})
            deliveries = [entry async for page in delivery_pages for entry in page.entries]
            auctions_url = f"{urls['matching']}/v1/ledger/auctions"
            auction_pages = _fetch_pages(client, auctions_url, matching, AuctionPage, {})
            auctions = [entry async for page in auction_pages for entry in page.entries]
        except Unreachable as error:
            remedy = "`prebook doctor` shows which service is not ready; try again when all are"
            raise UserError(f"the suite does not answer: {error}", remedy) from error
    ids = {entry.booking_id for entry in entries} | {trip.trip_id for trip in trips}
    ours = [entry for entry in deliveries if entry.booking_id in ids]
    counts = Counter((plan_label(entry.couplings), str(entry.state)) for entry in entries)
    return LedgerSummary(
        bookings=len(entries),
        notified=len({entry.booking_id for entry in ours}),
        duplicated=sum(entry.times_delivered != 1 for entry in ours),
        rows=tuple(LedgerCount(plan, state, count) for (plan, state), count in sorted(counts.items())),
        trips=tuple(_trip_counts(trips)),
        offers=count_offers([entry for entry in auctions if entry.booking_id in ids]),
    )


def _trip_counts(trips: Iterable[TripLedgerEntry]) -> Iterator[TripCount]:
    counts = Counter((trip.policy.value, trip.state.value, trip.completed_by or "") for trip in trips)
    for (policy, state, completed_by), count in sorted(counts.items()):
        yield TripCount(policy, state, completed_by or None, count)


def _fetch_pages(
    client: httpx.AsyncClient, url: str, auth: CallAuth, page_type: type[P], query: Mapping[str, str]
) -> AsyncIterator[P]:
    async def fetch_page(after: str) -> P:
        page_query = {**query, "limit": str(PAGE_SIZE)} | ({"after": after} if after else {})
        async with limit_exchange(url, REQUEST_TIMEOUT_S):
            response = (await client.get(url, params=page_query, auth=auth)).raise_for_status()
        return msgspec.json.decode(response.content, type=page_type)

    return follow_pages(fetch_page)


def _table(summary: LedgerSummary) -> Table:
    caption = (
        f"{summary.bookings} bookings, {summary.notified} riders notified, {summary.duplicated} notices duplicated"
    )
    table = Table(title="Ledger", caption=caption)
    table.add_column("plan")
    table.add_column("state")
    table.add_column("bookings", justify="right")
    for row in summary.rows:
        table.add_row(row.plan, row.state, str(row.bookings))
    return table


def _trips_table(summary: LedgerSummary) -> Table:
    table = Table(title="Trips")
    for column in ("policy", "state", "completed by"):
        table.add_column(column)
    table.add_column("trips", justify="right")
    for row in summary.trips:
        table.add_row(row.policy, row.state, row.completed_by or "-", str(row.trips))
    return table


def _offers_table(offers: OfferCounts) -> Table:
    table = Table("fleet", title="Replies of fleets", caption=completion_text(offers))
    for column in OFFER_COLUMNS:
        table.add_column(column, justify="right")
    for row in offer_rows(offers):
        table.add_row(*row)
    return table
