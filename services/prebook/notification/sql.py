"""Notification's log on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from prebook.contracts.booking import DeliveryEntry
from prebook.contracts.notification import Notice
from prebook.notification.domain.cursor import LogPosition
from prebook.postgres.unit_of_work import SqlUnitOfWork

# `told` decides, and the log writes down what was done. The log has no key of its own that could hide a second
# delivery: should one ever happen, it is a second row, and the count below says so. What is overtaken comes first:
# where it is being told right now, this waits for that.
DELIVER = text("""
    WITH first AS (
        INSERT INTO told (booking_id, notice)
        SELECT :booking_id, n.notice
        FROM unnest(CAST(:overtakes AS text[]) || CAST(:notice AS text)) WITH ORDINALITY AS n (notice, place)
        ORDER BY n.place
        ON CONFLICT (booking_id, notice) DO NOTHING RETURNING booking_id, notice)
    INSERT INTO delivery (booking_id, notice, rider_id, text)
    SELECT booking_id, notice, CAST(:rider_id AS text), CAST(:text AS text) FROM first
    WHERE notice = CAST(:notice AS text) RETURNING 1""")
LIST_DELIVERIES = text("""
    SELECT booking_id, notice, min(delivered_at) AS delivered_at, count(*) AS deliveries FROM delivery
    WHERE delivered_at >= :since AND (booking_id, notice) > (:booking_id, :notice)
    GROUP BY booking_id, notice ORDER BY booking_id, notice LIMIT :limit""")


class NotificationSql(SqlUnitOfWork):
    async def deliver(
        self, booking_id: str, notice: Notice, rider_id: str, text: str, *, supersedes: Sequence[Notice] = ()
    ) -> bool:
        row = {"booking_id": booking_id, "notice": notice.value, "rider_id": rider_id, "text": text}
        return bool(await self._fetch_scalar(DELIVER, overtakes=[each.value for each in supersedes], **row))

    async def list_deliveries(self, since: datetime, after: LogPosition, limit: int) -> Sequence[DeliveryEntry]:
        asked = {"since": since, "limit": limit, **after._asdict()}
        rows = await self.connection.execute(LIST_DELIVERIES, asked)
        return tuple(DeliveryEntry(**row) for row in rows)
