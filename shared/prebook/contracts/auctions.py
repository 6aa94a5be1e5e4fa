"""HTTP bodies of matching's ledger: what became of the replies of the fleets to each auction."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec


class AuctionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One auction."""

    booking_id: str
    completed_by: str | None
    """``enough`` offers, ``all_replied`` or ``deadline``; null while it is open, or if the booking ended first."""
    verdicts: Mapping[str, tuple[str, ...]]
    """Fleet that was asked -> verdicts on its replies in their order: ``used``, ``late``, ``duplicate``,
    ``unreadable``, or ``missing`` in place of a reply; empty as long as it has none."""


class AuctionPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of auctions, by booking id."""

    entries: tuple[AuctionEntry, ...]
    next: str | None
    """Pass it as ``after`` to get the next page; null on the last page."""


class OfferTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Requests for an offer, and replies by verdict. Replies received = used + late + duplicate + unreadable."""

    asked: int
    used: int
    late: int
    duplicate: int
    unreadable: int
    missing: int
    """Requests without a reply."""


class OfferCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Sum over auctions: replies of fleets by verdict, and auctions by what completed them."""

    auctions: int
    completed_by: Mapping[str, int]
    total: OfferTotals
    fleets: Mapping[str, OfferTotals]
    """By fleet, in the order of their names."""


OFFER_COLUMNS = OfferTotals.__struct_fields__
"""Names of the counts, in the order in which tables show them."""


def count_offers(entries: Sequence[AuctionEntry]) -> OfferCounts:
    """Return the sum over the auctions of ``entries``."""
    completed = Counter(entry.completed_by for entry in entries if entry.completed_by)
    fleets = sorted({fleet for entry in entries for fleet in entry.verdicts})
    return OfferCounts(
        auctions=len(entries),
        completed_by=dict(sorted(completed.items())),
        total=_total(own for entry in entries for own in entry.verdicts.values()),
        fleets={
            fleet: _total(entry.verdicts[fleet] for entry in entries if fleet in entry.verdicts) for fleet in fleets
        },
    )


def offer_rows(offers: OfferCounts) -> Sequence[tuple[str, ...]]:
    """Return the rows of a table: fleet, and its counts by OFFER_COLUMNS; the last row is that of all fleets."""
    named = (*offers.fleets.items(), ("all", offers.total))
    return [(name, *(str(getattr(totals, column)) for column in OFFER_COLUMNS)) for name, totals in named]


def completion_text(offers: OfferCounts) -> str:
    """Return a sentence about the auctions, and what completed them."""
    completed = ", ".join(f"{count} by {name.replace('_', ' ')}" for name, count in offers.completed_by.items())
    return f"{offers.auctions} auctions; decided: {completed or 'none'}"


def _total(requests: Iterable[tuple[str, ...]]) -> OfferTotals:
    """Return the totals of requests, each with the verdicts on its replies."""
    verdicts = list(requests)
    counts = Counter(verdict for own in verdicts for verdict in own)
    return OfferTotals(asked=len(verdicts), **{column: counts[column] for column in OFFER_COLUMNS[1:]})
