"""Matching's HTTP API: the ledger of auctions, for reconciliation."""

from collections.abc import Sequence
from typing import Annotated

from litestar import get
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from prebook.contracts.auctions import AuctionEntry, AuctionPage
from prebook.http.call_guard import ALLOW_CONSOLE
from prebook.http.problems import problem_responses
from prebook.matching.domain.auction import Auction
from prebook.matching.store import MatchingWork
from prebook.messaging.codec import SAFE_ID
from prebook.runtime.service import ServiceContext

After = Annotated[
    str,
    QueryParameter(pattern=rf"^$|^{SAFE_ID.pattern[:-2]}$", max_length=200, description="`next` of the previous page"),
]
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="entries of a page")]


def internal_routes(context: ServiceContext[MatchingWork]) -> Sequence[BaseRouteHandler]:
    """Litestar route handlers of the ledger of auctions, for the console."""

    @get(
        "/v1/ledger/auctions",
        summary="List the auctions, with what became of the replies of the fleets, in pages",
        responses=problem_responses(400, 401, 403),
        opt=ALLOW_CONSOLE,
    )
    async def list_auctions(after: After = "", limit: Limit = 500) -> AuctionPage:
        async with context.units.commands() as work:
            auctions = await work.list_auctions(after, limit)
        is_full = len(auctions) == limit
        return AuctionPage(entries=tuple(map(_entry_of, auctions)), next=auctions[-1].booking_id if is_full else None)

    return [list_auctions]


def _entry_of(auction: Auction) -> AuctionEntry:
    asked = sorted({*auction.verdicts, *auction.pending_fleets})
    return AuctionEntry(
        booking_id=auction.booking_id,
        completed_by=auction.completed_by.value if auction.completed_by else None,
        verdicts={fleet: tuple(each.value for each in auction.verdicts.get(fleet, ())) for fleet in asked},
    )
