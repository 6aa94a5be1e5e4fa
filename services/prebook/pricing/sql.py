"""Pricing's state on PostgreSQL."""

from sqlalchemy import text

from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.pricing.domain.campaign import CAMPAIGN_NAME

# The campaign's row is the one row that every quote wants: a quote locks it until its commit, so it is locked last, in
# the same round trip that decides, and not at all where none is left. The booking's own row always comes before it,
# here and where a share goes back, so that two transactions of one booking wait for each other and never in a circle.
GRANT_DISCOUNT = text("""
    WITH claim AS (
        INSERT INTO share (booking_id, state) VALUES (:booking_id, 'taken')
        ON CONFLICT (booking_id) DO NOTHING RETURNING 1),
    granted AS (
        UPDATE campaign SET granted = granted + 1, quota = greatest(quota, :quota)
        WHERE name = :name AND granted < greatest(quota, :quota) AND EXISTS (SELECT FROM claim) RETURNING 1)
    SELECT EXISTS (SELECT FROM claim), EXISTS (SELECT FROM granted)""")
MARK_NONE_LEFT = text("UPDATE share SET state = 'none_left' WHERE booking_id = :booking_id")
HAS_DISCOUNT = text("SELECT state = 'taken' FROM share WHERE booking_id = :booking_id")
# An upsert, because it waits for a grant of the same booking that has not committed yet, and then sees it. What ends
# before it is quoted leaves its row behind, which the later quote finds.
END_GRANT = text("""
    INSERT INTO share (booking_id, state) VALUES (:booking_id, 'ended')
    ON CONFLICT (booking_id) DO UPDATE SET state = 'returned', at = now() WHERE share.state = 'taken'
    RETURNING state = 'returned'""")
# A statement of its own: in one with the upsert it would count down from the campaign as it was before that waited,
# and the check would refuse the -1 before PostgreSQL looks at the row's latest version.
RETURN_DISCOUNT = text("UPDATE campaign SET granted = granted - 1 WHERE name = :name")


class PricingSql(SqlUnitOfWork):
    async def grant_discount(self, booking_id: str, quota: int) -> bool:
        values = {"booking_id": booking_id, "name": CAMPAIGN_NAME, "quota": quota}
        claimed, granted = (await self.connection.execute(GRANT_DISCOUNT, values)).one()
        if not claimed:
            return bool(await self._fetch_scalar(HAS_DISCOUNT, booking_id=booking_id))
        if not granted:
            await self._execute(MARK_NONE_LEFT, booking_id=booking_id)
        return bool(granted)

    async def return_discount(self, booking_id: str) -> None:
        if await self._fetch_scalar(END_GRANT, booking_id=booking_id):
            await self._execute(RETURN_DISCOUNT, name=CAMPAIGN_NAME)
