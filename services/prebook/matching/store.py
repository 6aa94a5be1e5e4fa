"""Port of matching's store: auctions, and assignments of drivers to bookings."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from prebook.matching.domain.auction import Auction, Offer
from prebook.messaging.unit_of_work import UnitOfWork


class MatchingWork(UnitOfWork, Protocol):
    """Unit of work over matching's store."""

    async def open_auction(self, auction: Auction) -> bool:
        """Store a new auction; False if the booking has one already, open or closed."""
        ...

    async def lock_auction(self, booking_id: str) -> tuple[Auction, timedelta] | None:
        """Lock the auction until the transaction ends, to serialise replies.

        Returns the auction and its age by the store's clock; None if there is none.
        """
        ...

    async def save(self, auction: Auction, due_after: timedelta | None) -> None:
        """Write the auction. ``due_after``: age at which ``list_overdue`` lists it; None: never."""
        ...

    async def list_overdue(self, limit: int) -> Sequence[str]:
        """Return the booking ids of auctions that are due by the store's clock, the oldest first."""
        ...

    async def list_auctions(self, after: str, limit: int) -> Sequence[Auction]:
        """Return at most ``limit`` auctions by booking id, from the one after ``after``."""
        ...

    async def assign(self, booking_id: str, offer: Offer) -> bool:
        """Assign the driver's slot to this booking; False if another booking has it."""
        ...

    async def unassign(self, booking_id: str) -> bool:
        """Release the booking's slot; False if it had none."""
        ...
