"""Fleets' state on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text

from prebook.postgres.work import SqlWork

# Looks before it takes, so that a conflict is rare; the primary key decides where two take at once.
HOLD = text("""
    INSERT INTO hold (fleet, driver, slot, booking_id)
    SELECT :fleet, candidate, :slot, :booking_id
    FROM unnest(CAST(:candidates AS text[])) WITH ORDINALITY AS tried (candidate, rank)
    WHERE NOT EXISTS (
        SELECT FROM hold WHERE hold.fleet = :fleet AND hold.driver = candidate AND hold.slot = :slot)
    ORDER BY rank LIMIT 1
    ON CONFLICT DO NOTHING RETURNING driver""")
BOOK = text("UPDATE hold SET state = 'booked' WHERE fleet = :fleet AND booking_id = :booking_id")
RELEASE = text("DELETE FROM hold WHERE fleet = :fleet AND booking_id = :booking_id")


class FleetsSql(SqlWork):
    async def hold(self, fleet: str, booking_id: str, slot: datetime, candidates: Sequence[str]) -> str | None:
        values = {"fleet": fleet, "booking_id": booking_id, "slot": slot, "candidates": list(candidates)}
        driver: str | None = await self._scalar(HOLD, **values)
        return driver

    async def book(self, fleet: str, booking_id: str) -> None:
        await self._run(BOOK, fleet=fleet, booking_id=booking_id)

    async def release(self, fleet: str, booking_id: str) -> None:
        await self._run(RELEASE, fleet=fleet, booking_id=booking_id)
