"""HTTP bodies of matching's ledger: what became of the replies of the fleets to each auction."""

from collections.abc import Sequence

import msgspec


class AuctionEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One auction. Its replies are counted by verdict: replies received = used + late + duplicate + unreadable."""

    booking_id: str
    completed_by: str | None
    """``enough`` offers, ``all_replied`` or ``deadline``; null while it is open, or if the booking ended first."""
    used: int
    late: int
    duplicate: int
    unreadable: int
    missing: int
    """Fleets without a reply."""


class AuctionPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of auctions, by booking id."""

    entries: tuple[AuctionEntry, ...]
    next: str | None
    """Pass it as ``after`` to get the next page; null on the last page."""


class OfferCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Sum over auctions: replies of fleets by verdict, and auctions by what completed them."""

    auctions: int
    used: int
    late: int
    duplicate: int
    unreadable: int
    missing: int
    completed_by: dict[str, int]


def count_offers(entries: Sequence[AuctionEntry]) -> OfferCounts:
    """Return the sum over the auctions of ``entries``."""
    completed = [entry.completed_by for entry in entries if entry.completed_by]
    return OfferCounts(
        auctions=len(entries),
        used=sum(entry.used for entry in entries),
        late=sum(entry.late for entry in entries),
        duplicate=sum(entry.duplicate for entry in entries),
        unreadable=sum(entry.unreadable for entry in entries),
        missing=sum(entry.missing for entry in entries),
        completed_by={name: completed.count(name) for name in sorted(set(completed))},
    )
