"""Fleets' state on PostgreSQL."""

from collections.abc import Sequence

from sqlalchemy import text

from prebook.fleets.store import Reservation
from prebook.postgres.unit_of_work import SqlUnitOfWork

# Looks before it takes, so that a conflict is rare; the primary key decides where two take at once. Only that key is
# named: a second hold of one booking in one fleet is a defect and must raise.
RESERVE = text("""
    INSERT INTO hold (fleet, driver, slot, booking_id, until)
    SELECT CAST(:fleet AS text), candidate, CAST(:slot AS timestamptz), CAST(:booking_id AS text),
        CAST(:until AS timestamptz)
    FROM unnest(CAST(:candidates AS text[])) WITH ORDINALITY AS tried (candidate, rank)
    WHERE NOT EXISTS (
        SELECT FROM hold AS other
        WHERE other.fleet = :fleet AND other.driver = candidate AND other.slot = :slot
            AND (other.state = 'booked' OR other.until >= :now))
    ORDER BY rank LIMIT 1
    ON CONFLICT (fleet, driver, slot) DO UPDATE
        SET booking_id = excluded.booking_id, until = excluded.until, held_at = now()
        WHERE hold.state = 'held' AND hold.until < :now
    RETURNING driver""")
ALL_RESERVED = text("""
    SELECT count(*) = cardinality(CAST(:candidates AS text[])) FROM hold
    WHERE fleet = :fleet AND slot = :slot AND driver = ANY (CAST(:candidates AS text[]))
        AND (state = 'booked' OR until >= :now)""")
CONFIRM = text("""
    UPDATE hold SET state = 'booked'
    WHERE fleet = :fleet AND booking_id = :booking_id AND driver = :driver""")
RELEASE = text("DELETE FROM hold WHERE fleet = :fleet AND booking_id = :booking_id AND driver = :driver")
RECORD_UNREADABLE = text("""
    INSERT INTO unreadable_reply (booking_id, fleet, excerpt) VALUES (:booking_id, :fleet, :excerpt)
    ON CONFLICT (booking_id, fleet) DO NOTHING""")


class FleetsSql(SqlUnitOfWork):
    async def reserve(self, reservation: Reservation, candidates: Sequence[str]) -> str | None:
        tried = {
            "fleet": reservation.fleet,
            "slot": reservation.slot,
            "now": reservation.now,
            "candidates": list(candidates),
        }
        for _ in candidates:  # each race that is lost to another booking leaves one driver fewer to lose
            driver: str | None = await self._fetch_scalar(
                RESERVE, **tried, booking_id=reservation.booking_id, until=reservation.expires_at
            )
            if driver is not None or await self._fetch_scalar(ALL_RESERVED, **tried):
                return driver
        return None

    async def confirm(self, fleet: str, driver: str, booking_id: str) -> None:
        await self._execute(CONFIRM, fleet=fleet, driver=driver, booking_id=booking_id)

    async def release(self, fleet: str, driver: str, booking_id: str) -> None:
        await self._execute(RELEASE, fleet=fleet, driver=driver, booking_id=booking_id)

    async def record_unreadable(self, fleet: str, booking_id: str, excerpt: str) -> None:
        await self._execute(RECORD_UNREADABLE, fleet=fleet, booking_id=booking_id, excerpt=excerpt)
