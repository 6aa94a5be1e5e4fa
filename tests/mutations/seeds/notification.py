"""Defects of notification."""

import asyncio
from typing import Any

from sqlalchemy import text

from prebook.contracts.notification import Notice
from prebook.notification.sql import NotificationSql
from tests.mutations.seeding import is_chosen, replace

SHARE = 0.1
LATE_S = 7.0
"""Longer than riders wait until they cancel."""
DELIVER_UNCHECKED = text("""
    INSERT INTO delivery (booking_id, notice, rider_id, text) VALUES (:booking_id, :notice, :rider_id, :text)""")


def notified_twice() -> None:
    """Deliver some notices a second time."""

    def make(deliver: Any) -> Any:
        async def deliver_twice(
            self: Any, booking_id: str, notice: Notice, rider_id: str, text: str, **rest: Any
        ) -> Any:
            delivered = await deliver(self, booking_id, notice, rider_id, text, **rest)
            if delivered and is_chosen(booking_id, SHARE):
                row = {"booking_id": booking_id, "notice": notice.value, "rider_id": rider_id, "text": text}
                await self._execute(DELIVER_UNCHECKED, **row)
            return delivered

        return deliver_twice

    replace(NotificationSql, "deliver", make)


def never_notified() -> None:
    """Reply that some riders were notified, and deliver nothing."""

    def make(deliver: Any) -> Any:
        async def deliver_some(self: Any, booking_id: str, *rest: Any, **options: Any) -> Any:
            return is_chosen(booking_id, SHARE) or await deliver(self, booking_id, *rest, **options)

        return deliver_some

    replace(NotificationSql, "deliver", make)


def notices_out_of_order() -> None:
    """Deliver every confirmation late."""
    late = set[asyncio.Task[None]]()

    def make(deliver: Any) -> Any:
        async def deliver_late(
            self: Any, booking_id: str, notice: Notice, rider_id: str, text: str, **rest: Any
        ) -> Any:
            if notice is not Notice.CONFIRMED:
                return await deliver(self, booking_id, notice, rider_id, text, **rest)
            engine = self.connection.engine
            row = {"booking_id": booking_id, "notice": notice.value, "rider_id": rider_id, "text": text}

            async def insert() -> None:
                await asyncio.sleep(LATE_S)
                async with engine.begin() as connection:
                    await connection.execute(DELIVER_UNCHECKED, row)

            late.add(asyncio.create_task(insert()))
            return True

        return deliver_late

    replace(NotificationSql, "deliver", make)
