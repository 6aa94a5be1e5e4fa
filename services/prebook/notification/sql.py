"""Notices and their log on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from prebook.contracts.booking import DeliveryEntry
from prebook.contracts.notification import Notice
from prebook.contracts.riders import RiderProfile, RiderTier
from prebook.notification.domain.cursor import LogPosition
from prebook.postgres.unit_of_work import SqlUnitOfWork

# The key of `notified` decides, and `delivery` logs each delivery. The log has no key that could hide a second
# delivery: that would be a second row, and LIST_DELIVERIES would count it. Superseded notices are inserted first, so
# that this statement waits for one that is being delivered right now.
DELIVER = text("""
    WITH inserted AS (
        INSERT INTO notified (booking_id, notice)
        SELECT :booking_id, n.notice
        FROM unnest(CAST(:supersedes AS text[]) || CAST(:notice AS text)) WITH ORDINALITY AS n (notice, position)
        ORDER BY n.position
        ON CONFLICT (booking_id, notice) DO NOTHING RETURNING booking_id, notice)
    INSERT INTO delivery (booking_id, notice, rider_id, text)
    SELECT booking_id, notice, CAST(:rider_id AS text), CAST(:text AS text) FROM inserted
    WHERE notice = CAST(:notice AS text) RETURNING 1""")
LIST_DELIVERIES = text("""
    SELECT booking_id, notice, min(delivered_at) AS delivered_at, count(*) AS times_delivered FROM delivery
    WHERE delivered_at >= :since AND (booking_id, notice) > (:booking_id, :notice)
    GROUP BY booking_id, notice ORDER BY booking_id, notice LIMIT :limit""")

FIND_PROFILE = text("SELECT tier, home_zone FROM rider_profile WHERE rider_id = :rider_id")
SAVE_PROFILE = text("""
    INSERT INTO rider_profile (rider_id, tier, home_zone) VALUES (:rider_id, :tier, :home_zone)
    ON CONFLICT (rider_id) DO UPDATE SET tier = :tier, home_zone = :home_zone, updated_at = now()""")


class NotificationSql(SqlUnitOfWork):
    """NotificationWork on an open transaction."""

    async def deliver(
        self, booking_id: str, notice: Notice, rider_id: str, text: str, *, supersedes: Sequence[Notice] = ()
    ) -> bool:
        row = {"booking_id": booking_id, "notice": notice.value, "rider_id": rider_id, "text": text}
        return bool(await self._fetch_scalar(DELIVER, supersedes=[each.value for each in supersedes], **row))

    async def list_deliveries(self, since: datetime, after: LogPosition, limit: int) -> Sequence[DeliveryEntry]:
        values = {"since": since, "limit": limit, **after._asdict()}
        rows = await self.connection.execute(LIST_DELIVERIES, values)
        return tuple(DeliveryEntry(**row) for row in rows)

    async def find_profile(self, rider_id: str) -> RiderProfile | None:
        row = (await self.connection.execute(FIND_PROFILE, {"rider_id": rider_id})).first()
        return RiderProfile(tier=RiderTier(row.tier), home_zone=row.home_zone) if row else None

    async def save_profile(self, rider_id: str, profile: RiderProfile) -> None:
        values = {"rider_id": rider_id, "tier": profile.tier.value, "home_zone": profile.home_zone}
        await self._execute(SAVE_PROFILE, **values)
