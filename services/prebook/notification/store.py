"""What notification keeps: the log of what riders were told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from prebook.contracts.booking import DeliveryEntry
from prebook.contracts.notification import Notice
from prebook.messaging.unit_of_work import UnitOfWork
from prebook.notification.domain.cursor import LogPosition


class NotificationWork(UnitOfWork, Protocol):
    async def deliver(
        self, booking_id: str, notice: Notice, rider_id: str, text: str, *, supersedes: Sequence[Notice] = ()
    ) -> bool:
        """Tell the rider, which is to log it; False where this notice was delivered before, and nothing is done.

        Notices that it ``supersedes`` count as delivered from now on.
        """
        ...

    async def list_deliveries(self, since: datetime, after: LogPosition, limit: int) -> Sequence[DeliveryEntry]:
        """At most ``limit`` lines behind ``after``, in the log's order, of what was delivered at ``since`` or later."""
        ...
