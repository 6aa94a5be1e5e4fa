"""Port of notification's store: delivered notices, the delivery log, and riders' profiles."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from prebook.contracts.booking import DeliveryEntry
from prebook.contracts.notification import Notice
from prebook.contracts.riders import RiderProfile
from prebook.messaging.unit_of_work import UnitOfWork
from prebook.notification.domain.cursor import LogPosition


class NotificationWork(UnitOfWork, Protocol):
    """Unit of work over notification's store."""

    async def deliver(
        self, booking_id: str, notice: Notice, rider_id: str, text: str, *, supersedes: Sequence[Notice] = ()
    ) -> bool:
        """Deliver a notice, that is, add it to the log; False without effect if it was delivered before.

        The notices in ``supersedes`` count as delivered from now on.
        """
        ...

    async def list_deliveries(self, since: datetime, after: LogPosition, limit: int) -> Sequence[DeliveryEntry]:
        """Read at most ``limit`` entries after ``after`` that were delivered at ``since`` or later, in log order."""
        ...

    async def find_profile(self, rider_id: str) -> RiderProfile | None:
        """Return the profile of a rider; None if none was saved."""
        ...

    async def save_profile(self, rider_id: str, profile: RiderProfile) -> None:
        """Store the profile of a rider in place of an earlier one."""
        ...
