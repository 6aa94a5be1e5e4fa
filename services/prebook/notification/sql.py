"""Notification's log on PostgreSQL."""

from datetime import datetime

from sqlalchemy import text

from prebook.contracts.booking import DeliveryLine, DeliveryPage
from prebook.contracts.notification import Notice
from prebook.postgres.work import SqlWork

DELIVER = text("""
    INSERT INTO delivery (booking_id, notice, rider_id, text) VALUES (:booking_id, :notice, :rider_id, :text)
    ON CONFLICT (booking_id, notice) DO NOTHING RETURNING 1""")
# One line for a notice of a booking. Two rows of one are impossible by the key, and counted all the same.
DELIVERIES = text("""
    SELECT booking_id, notice, min(delivered_at) AS delivered_at, count(*) AS deliveries FROM delivery
    WHERE delivered_at >= :since AND booking_id || '/' || notice > :after
    GROUP BY booking_id, notice ORDER BY booking_id || '/' || notice LIMIT :limit""")


class NotificationSql(SqlWork):
    async def deliver(self, booking_id: str, notice: Notice, rider_id: str, text: str) -> bool:
        row = {"booking_id": booking_id, "notice": notice.value, "rider_id": rider_id, "text": text}
        return bool(await self._scalar(DELIVER, **row))

    async def deliveries(self, since: datetime, after: str, limit: int) -> DeliveryPage:
        rows = await self.connection.execute(DELIVERIES, {"since": since, "after": after, "limit": limit})
        lines = tuple(DeliveryLine(**row) for row in rows.mappings())
        last = f"{lines[-1].booking_id}/{lines[-1].notice}" if len(lines) == limit else None
        return DeliveryPage(lines=lines, next=last)
