"""What pricing keeps: the campaign's quota and who has a share of it."""

from typing import Protocol

from prebook.messaging.unit_of_work import UnitOfWork


class PricingWork(UnitOfWork, Protocol):
    async def grant_discount(self, booking_id: str, quota: int) -> bool:
        """Take one share of the quota for this booking; True if it has one now. Never more than ``quota`` in all.

        A booking that has ended, or has given its share back, gets none.
        """
        ...

    async def return_discount(self, booking_id: str) -> None:
        """Give the share back, once; and let none be taken for this booking from now on."""
        ...
