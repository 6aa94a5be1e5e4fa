"""Auctions and assignments on PostgreSQL."""

from datetime import timedelta

import msgspec
from sqlalchemy import text

from prebook.matching.domain.auction import Auction, Offer
from prebook.postgres.unit_of_work import SqlUnitOfWork

OPEN = text("""
    INSERT INTO auction (booking_id, closed, late_offers, document)
    VALUES (:booking_id, :closed, :late_offers, CAST(:document AS jsonb))
    ON CONFLICT (booking_id) DO NOTHING RETURNING 1""")
LOCK = text("""
    SELECT CAST(document AS text) AS document, clock_timestamp() - opened_at AS age FROM auction
    WHERE booking_id = :booking_id FOR UPDATE""")
SAVE = text("""
    UPDATE auction SET closed = :closed, late_offers = :late_offers, document = CAST(:document AS jsonb)
    WHERE booking_id = :booking_id""")
# A driver taken by another booking is a result; a second driver for one booking is a defect, and its key raises.
ASSIGN = text("""
    INSERT INTO assignment (booking_id, fleet, driver, slot) VALUES (:booking_id, :fleet, :driver, :slot)
    ON CONFLICT (driver, slot) DO NOTHING RETURNING 1""")
UNASSIGN = text("DELETE FROM assignment WHERE booking_id = :booking_id RETURNING 1")


class MatchingSql(SqlUnitOfWork):
    """MatchingWork on an open transaction."""

    async def open_auction(self, auction: Auction) -> bool:
        return bool(await self._fetch_scalar(OPEN, **_row(auction)))

    async def lock_auction(self, booking_id: str) -> tuple[Auction, timedelta] | None:
        row = (await self.connection.execute(LOCK, {"booking_id": booking_id})).first()
        return (msgspec.json.decode(row.document, type=Auction), row.age) if row else None

    async def save(self, auction: Auction) -> None:
        await self._execute(SAVE, **_row(auction))

    async def assign(self, booking_id: str, offer: Offer) -> bool:
        row = {"booking_id": booking_id, "fleet": offer.fleet, "driver": offer.driver, "slot": offer.slot}
        return bool(await self._fetch_scalar(ASSIGN, **row))

    async def unassign(self, booking_id: str) -> bool:
        return bool(await self._fetch_scalar(UNASSIGN, booking_id=booking_id))


def _row(auction: Auction) -> dict[str, object]:
    document = msgspec.json.encode(auction).decode()
    return {
        "booking_id": auction.booking_id,
        "closed": auction.closed,
        "late_offers": auction.late_offers,
        "document": document,
    }
