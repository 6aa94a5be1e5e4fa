"""Reservations of drivers on PostgreSQL."""

from collections.abc import Sequence

from sqlalchemy import text

from prebook.fleets.store import Reservation
from prebook.fleets.tables import ReservationState
from prebook.postgres.statements import statement_factory
from prebook.postgres.unit_of_work import SqlUnitOfWork

_statement = statement_factory(ReservationState)

# The query selects a free driver first, so that conflicts are rare; the primary key decides between concurrent ones.
# ON CONFLICT names that key only: a second reservation of one booking in one fleet is a defect and must raise.
RESERVE = _statement("""
    INSERT INTO reservation (fleet, driver, slot, booking_id, expires_at)
    SELECT CAST(:fleet AS text), candidate, CAST(:slot AS timestamptz), CAST(:booking_id AS text),
        CAST(:expires_at AS timestamptz)
    FROM unnest(CAST(:candidates AS text[])) WITH ORDINALITY AS tried (candidate, rank)
    WHERE NOT EXISTS (
        SELECT FROM reservation AS other
        WHERE other.fleet = :fleet AND other.driver = candidate AND other.slot = :slot
            AND (other.state = {BOOKED} OR other.expires_at >= :now))
    ORDER BY rank LIMIT 1
    ON CONFLICT (fleet, driver, slot) DO UPDATE
        SET booking_id = excluded.booking_id, expires_at = excluded.expires_at, reserved_at = now()
        WHERE reservation.state = {RESERVED} AND reservation.expires_at < :now
    RETURNING driver""")
ALL_RESERVED = _statement("""
    SELECT count(*) = cardinality(CAST(:candidates AS text[])) FROM reservation
    WHERE fleet = :fleet AND slot = :slot AND driver = ANY (CAST(:candidates AS text[]))
        AND (state = {BOOKED} OR expires_at >= :now)""")
CONFIRM = _statement("""
    UPDATE reservation SET state = {BOOKED}
    WHERE fleet = :fleet AND booking_id = :booking_id AND driver = :driver""")
RELEASE = text("DELETE FROM reservation WHERE fleet = :fleet AND booking_id = :booking_id AND driver = :driver")
RECORD_UNREADABLE = text("""
    INSERT INTO unreadable_reply (booking_id, fleet, excerpt) VALUES (:booking_id, :fleet, :excerpt)
    ON CONFLICT (booking_id, fleet) DO NOTHING""")


class FleetsSql(SqlUnitOfWork):
    """FleetsWork on an open transaction."""

    async def reserve(self, reservation: Reservation, candidates: Sequence[str]) -> str | None:
        values = {
            "fleet": reservation.fleet,
            "slot": reservation.slot,
            "now": reservation.now,
            "candidates": list(candidates),
        }
        for _ in candidates:  # every race lost to another booking leaves one candidate fewer
            driver: str | None = await self._fetch_scalar(
                RESERVE, **values, booking_id=reservation.booking_id, expires_at=reservation.expires_at
            )
            if driver is not None or await self._fetch_scalar(ALL_RESERVED, **values):
                return driver
        return None

    async def confirm(self, fleet: str, driver: str, booking_id: str) -> None:
        await self._execute(CONFIRM, fleet=fleet, driver=driver, booking_id=booking_id)

    async def release(self, fleet: str, driver: str, booking_id: str) -> None:
        await self._execute(RELEASE, fleet=fleet, driver=driver, booking_id=booking_id)

    async def record_unreadable(self, fleet: str, booking_id: str, excerpt: str) -> None:
        await self._execute(RECORD_UNREADABLE, fleet=fleet, booking_id=booking_id, excerpt=excerpt)
