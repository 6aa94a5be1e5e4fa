"""What matching keeps: auctions, and who drives whom when."""

from datetime import timedelta
from typing import Protocol

from prebook.matching.domain.auction import Auction, Offer
from prebook.messaging.unit_of_work import UnitOfWork


class MatchingWork(UnitOfWork, Protocol):
    async def open_auction(self, auction: Auction) -> bool:
        """False where this booking has an auction already, or is known to have ended."""
        ...

    async def lock_auction(self, booking_id: str) -> tuple[Auction, timedelta] | None:
        """The auction and its age by the store's clock, held until the transaction ends: answers come in turn."""
        ...

    async def save(self, auction: Auction) -> None: ...

    async def assign(self, booking_id: str, offer: Offer) -> bool:
        """Give the driver's slot to this booking; False where somebody has it."""
        ...

    async def unassign(self, booking_id: str) -> bool:
        """Take the slot back; False where the booking had none."""
        ...
