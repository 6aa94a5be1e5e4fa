"""Auctions and assignments on PostgreSQL."""

from collections.abc import Sequence
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
    UPDATE auction SET closed = :closed, late_offers = :late_offers, document = CAST(:document AS jsonb),
        due_at = opened_at + make_interval(secs => CAST(:due_after_s AS double precision))
    WHERE booking_id = :booking_id""")
# An auction that is long overdue has no pending request any more; it must not fill the limit ahead of the others.
LIST_OVERDUE = text("""
    SELECT booking_id FROM auction
    WHERE due_at BETWEEN clock_timestamp() - interval '1 hour' AND clock_timestamp() ORDER BY due_at LIMIT :limit""")
LIST_AUCTIONS = text("""
    SELECT CAST(document AS text) FROM auction WHERE booking_id > :after ORDER BY booking_id LIMIT :limit""")
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

    async def save(self, auction: Auction, due_after: timedelta | None) -> None:
        due_after_s = None if due_after is None else due_after.total_seconds()
        await self._execute(SAVE, due_after_s=due_after_s, **_row(auction))

    async def list_overdue(self, limit: int) -> Sequence[str]:
        found = await self.connection.execute_without_begin(LIST_OVERDUE, {"limit": limit})
        return [str(booking_id) for booking_id in found.scalars()]

    async def list_auctions(self, after: str, limit: int) -> Sequence[Auction]:
        found = await self.connection.execute_without_begin(LIST_AUCTIONS, {"after": after, "limit": limit})
        return [msgspec.json.decode(document, type=Auction) for document in found.scalars()]

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
