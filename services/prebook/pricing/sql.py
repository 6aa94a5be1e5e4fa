"""The campaign and its discount grants on PostgreSQL."""

from sqlalchemy import text

from prebook.postgres.statements import statement_factory
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.pricing.domain.campaign import CAMPAIGN_NAME
from prebook.pricing.tables import DiscountState

_statement = statement_factory(DiscountState)

# Every quote updates the campaign's one row and locks it until its commit. So it is locked last, in the round trip
# that decides, and not at all if no discount is left. The booking's own row always comes before it, here and when a
# discount is returned: two transactions of one booking may wait for each other, but never deadlock.
GRANT_DISCOUNT = _statement("""
    WITH inserted AS (
        INSERT INTO discount_grant (booking_id, state) VALUES (:booking_id, {GRANTED})
        ON CONFLICT (booking_id) DO NOTHING RETURNING 1),
    granted AS (
        UPDATE campaign SET granted = granted + 1, quota = greatest(quota, :quota)
        WHERE name = :name AND granted < greatest(quota, :quota) AND EXISTS (SELECT FROM inserted) RETURNING 1)
    SELECT EXISTS (SELECT FROM inserted), EXISTS (SELECT FROM granted)""")
MARK_NONE_LEFT = _statement("UPDATE discount_grant SET state = {NONE_LEFT} WHERE booking_id = :booking_id")
HAS_DISCOUNT = _statement("SELECT state = {GRANTED} FROM discount_grant WHERE booking_id = :booking_id")
# An upsert, because it waits for a grant of the same booking that has not committed yet, and then sees it. A booking
# that ends before its quote leaves a row, which the later quote finds.
END_GRANT = _statement("""
    INSERT INTO discount_grant (booking_id, state) VALUES (:booking_id, {ENDED})
    ON CONFLICT (booking_id) DO UPDATE SET state = {RETURNED}, updated_at = now()
        WHERE discount_grant.state = {GRANTED}
    RETURNING state = {RETURNED}""")
# A separate statement: together with the upsert it would subtract from the row as it was before the upsert waited, and
# the check would refuse -1 before PostgreSQL reads the row's latest version.
RETURN_DISCOUNT = text("UPDATE campaign SET granted = granted - 1 WHERE name = :name")


class PricingSql(SqlUnitOfWork):
    """PricingWork on an open transaction."""

    async def grant_discount(self, booking_id: str, quota: int) -> bool:
        values = {"booking_id": booking_id, "name": CAMPAIGN_NAME, "quota": quota}
        inserted, granted = (await self.connection.execute(GRANT_DISCOUNT, values)).one()
        if not inserted:
            return bool(await self._fetch_scalar(HAS_DISCOUNT, booking_id=booking_id))
        if not granted:
            await self._execute(MARK_NONE_LEFT, booking_id=booking_id)
        return bool(granted)

    async def return_discount(self, booking_id: str) -> None:
        if await self._fetch_scalar(END_GRANT, booking_id=booking_id):
            await self._execute(RETURN_DISCOUNT, name=CAMPAIGN_NAME)
