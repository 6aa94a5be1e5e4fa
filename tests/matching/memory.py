"""In-memory store of matching, with the unique keys of its tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prebook.matching.domain.auction import Auction, Offer


class DoubleAssignment(Exception):
    """A booking would get a second driver, which the unique key of the table forbids."""


@dataclass
class MemoryMatching:
    auctions: dict[str, Auction] = field(default_factory=dict)
    assignments: dict[tuple[str, datetime], str] = field(default_factory=dict)
    """(driver, slot) -> booking id."""
    age: timedelta = timedelta()
    due_after: dict[str, timedelta | None] = field(default_factory=dict)

    async def open_auction(self, auction: Auction) -> bool:
        return self.auctions.setdefault(auction.booking_id, auction) is auction

    async def lock_auction(self, booking_id: str) -> tuple[Auction, timedelta] | None:
        auction = self.auctions.get(booking_id)
        return (auction, self.age) if auction else None

    async def save(self, auction: Auction, due_after: timedelta | None) -> None:
        self.auctions[auction.booking_id] = auction
        self.due_after[auction.booking_id] = due_after

    async def list_overdue(self, limit: int) -> Sequence[str]:
        overdue = [booking for booking, due_after in self.due_after.items() if due_after and due_after <= self.age]
        return overdue[:limit]

    async def list_auctions(self, after: str, limit: int) -> Sequence[Auction]:
        return [self.auctions[name] for name in sorted(self.auctions) if name > after][:limit]

    async def assign(self, booking_id: str, offer: Offer) -> bool:
        if (offer.driver, offer.slot) in self.assignments:
            return False
        if booking_id in self.assignments.values():
            raise DoubleAssignment(booking_id)
        self.assignments[offer.driver, offer.slot] = booking_id
        return True

    async def unassign(self, booking_id: str) -> bool:
        before = len(self.assignments)
        self.assignments = {key: value for key, value in self.assignments.items() if value != booking_id}
        return len(self.assignments) < before
