"""Port of pricing's store: the campaign's quota and the discount grants of bookings."""

from typing import Protocol

from prebook.messaging.unit_of_work import UnitOfWork


class PricingWork(UnitOfWork, Protocol):
    """Unit of work over pricing's store."""

    async def grant_discount(self, booking_id: str, quota: int) -> bool:
        """Grant this booking a discount of the campaign; True if it has one now.

        The highest ``quota`` ever passed counts, and never more grants than that exist at a time. The decision is made
        once per booking: a booking that found none left, returned its grant or has ended gets none later.
        """
        ...

    async def return_discount(self, booking_id: str) -> None:
        """Return the booking's discount, once, and grant it none from now on."""
        ...
