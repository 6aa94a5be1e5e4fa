"""Pricing's state on PostgreSQL."""

from sqlalchemy import text

from prebook.postgres.work import SqlWork
from prebook.pricing.domain.campaign import NAME

# One statement, so that the campaign's hot row is locked only from here to the commit. A share is taken where the
# quota allows it and the booking has none yet; the row of the share decides between two takers of one booking.
GRANT = text("""
    WITH share AS (
        INSERT INTO share (booking_id, state) VALUES (:booking_id, 'taken')
        ON CONFLICT (booking_id) DO NOTHING RETURNING booking_id),
    taken AS (
        UPDATE campaign SET granted = granted + 1
        WHERE name = :name AND granted < :quota AND EXISTS (SELECT FROM share) RETURNING 1)
    SELECT EXISTS (SELECT FROM share), EXISTS (SELECT FROM taken)""")
NO_SHARE = text("DELETE FROM share WHERE booking_id = :booking_id")
HAS_SHARE = text("SELECT state = 'taken' FROM share WHERE booking_id = :booking_id")
RETURN_SHARE = text("""
    WITH ended AS (
        INSERT INTO share (booking_id, state) VALUES (:booking_id, 'ended') ON CONFLICT (booking_id) DO NOTHING),
    returned AS (
        UPDATE share SET state = 'returned' WHERE booking_id = :booking_id AND state = 'taken' RETURNING 1)
    UPDATE campaign SET granted = granted - 1 WHERE name = :name AND EXISTS (SELECT FROM returned)""")


class PricingSql(SqlWork):
    async def grant_discount(self, booking_id: str, quota: int) -> bool:
        values = {"booking_id": booking_id, "name": NAME, "quota": quota}
        fresh, taken = (await self.connection.execute(GRANT, values)).one()
        if fresh and not taken:
            await self._run(NO_SHARE, booking_id=booking_id)
        return bool(taken) if fresh else bool(await self._scalar(HAS_SHARE, booking_id=booking_id))

    async def return_discount(self, booking_id: str) -> None:
        await self._run(RETURN_SHARE, booking_id=booking_id, name=NAME)
