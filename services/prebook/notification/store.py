"""What notification keeps: the log of what was told."""

from datetime import datetime
from typing import Protocol

from prebook.contracts.booking import DeliveryPage
from prebook.contracts.notification import Notice
from prebook.messaging.unit_of_work import UnitOfWork


class NotificationWork(UnitOfWork, Protocol):
    async def deliver(self, booking_id: str, notice: Notice, rider_id: str, text: str) -> bool:
        """Tell the rider and log it; False where this notice had been delivered before, and nothing was done."""
        ...

    async def deliveries(self, since: datetime, after: str, limit: int) -> DeliveryPage:
        """Of bookings whose id is greater than ``after``, in their order."""
        ...
