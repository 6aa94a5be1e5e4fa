"""What pricing keeps: the campaign's quota, and what became of each booking's share of it."""

from typing import Protocol

from prebook.messaging.unit_of_work import UnitOfWork


class PricingWork(UnitOfWork, Protocol):
    async def grant_discount(self, booking_id: str, quota: int) -> bool:
        """Take one share of the campaign for this booking; True if it has one now.

        The quota is the highest that was ever given, and no more than that many shares are out at a time. It is decided
        once per booking: one that found none left, has given its share back or has ended gets none later.
        """
        ...

    async def return_discount(self, booking_id: str) -> None:
        """Give the share back, once; and let none be taken for this booking from now on."""
        ...
