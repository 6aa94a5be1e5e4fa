"""Reservations of drivers on PostgreSQL."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import text

from prebook.contracts.route import RouteGeometry
from prebook.fleets.store import Reservation, UnreadableReply
from prebook.fleets.tables import ReservationState
from prebook.flows import ASK_FLEET
from prebook.messaging.envelope import message_id
from prebook.patterns.normalizer import ForeignMessage, UnreadableCause, UnreadableMessage
from prebook.postgres.inbox import RECORD_MESSAGE
from prebook.postgres.statements import statement_factory
from prebook.postgres.unit_of_work import SqlUnitOfWork

_statement = statement_factory(ReservationState)

# The query selects a free driver first, so that conflicts are rare; the primary key decides between concurrent ones.
# ON CONFLICT names that key only: a second reservation of one booking in one fleet is a defect and must raise.
# Slots are inserted in order, so that two rides that compete for one driver cannot deadlock.
RESERVE = _statement("""
    WITH chosen AS (
        SELECT candidate
        FROM unnest(CAST(:candidates AS text[])) WITH ORDINALITY AS tried (candidate, rank)
        WHERE NOT EXISTS (
            SELECT FROM reservation AS other
            WHERE other.fleet = :fleet AND other.driver = candidate
                AND other.slot = ANY (CAST(:slots AS timestamptz[]))
                AND (other.state = {BOOKED} OR other.expires_at >= :now))
        ORDER BY rank LIMIT 1),
    reserved AS (
        INSERT INTO reservation (fleet, driver, slot, booking_id, expires_at)
        SELECT CAST(:fleet AS text), candidate, slot, CAST(:booking_id AS text), CAST(:expires_at AS timestamptz)
        FROM chosen, unnest(CAST(:slots AS timestamptz[])) AS slot ORDER BY slot
        ON CONFLICT (fleet, driver, slot) DO NOTHING RETURNING slot)
    SELECT candidate, (SELECT count(*) FROM reserved) FROM chosen""")
# All rows of a reservation expire at the same moment, so no reservation loses only some of its slots.
DELETE_EXPIRED = _statement("""
    DELETE FROM reservation
    WHERE fleet = :fleet AND driver = :driver AND state = {RESERVED} AND expires_at < :now""")
CONFIRM = _statement("""
    UPDATE reservation SET state = {BOOKED}
    WHERE fleet = :fleet AND booking_id = :booking_id AND driver = :driver""")
RELEASE = text("DELETE FROM reservation WHERE fleet = :fleet AND booking_id = :booking_id AND driver = :driver")
# No driver of a withdrawn request is confirmed: its offer was not received.
RELEASE_ANY = text("DELETE FROM reservation WHERE fleet = :fleet AND booking_id = :booking_id")
SAVE_ROUTE = text("""
    INSERT INTO route (booking_id, revision, geometry) VALUES (:booking_id, :revision, :geometry)
    ON CONFLICT (booking_id) DO UPDATE
        SET revision = excluded.revision, geometry = excluded.geometry, received_at = now()
        WHERE route.revision < excluded.revision""")
RECORD_UNREADABLE = text("""
    INSERT INTO unreadable_reply (booking_id, fleet, message_id, received_at, cause, media_type, body)
    VALUES (:booking_id, :fleet, :message_id, :received_at, :cause, :media_type, :body)
    ON CONFLICT (booking_id, fleet) DO NOTHING""")
LIST_UNREADABLE = text("""
    SELECT booking_id, fleet, message_id, received_at, cause, media_type, body FROM unreadable_reply
    ORDER BY received_at LIMIT :limit""")
DELETE_UNREADABLE = text("DELETE FROM unreadable_reply WHERE booking_id = :booking_id AND fleet = :fleet")


class FleetsSql(SqlUnitOfWork):
    """FleetsWork on an open transaction."""

    async def reserve(self, reservation: Reservation, candidates: Sequence[str]) -> str | None:
        fleet = reservation.fleet
        values = {**vars(reservation), "slots": list(reservation.slots), "candidates": list(candidates)}
        while row := (await self.connection.execute(RESERVE, values)).first():
            driver, slots_reserved = row
            if slots_reserved == len(reservation.slots):
                return str(driver)
            # Either a concurrent booking, now visible, reserved the driver first, or an expired reservation remains.
            await self.release(fleet, driver, reservation.booking_id)
            await self._execute(DELETE_EXPIRED, fleet=fleet, driver=driver, now=reservation.now)
        return None

    async def confirm(self, fleet: str, driver: str, booking_id: str) -> None:
        await self._execute(CONFIRM, fleet=fleet, driver=driver, booking_id=booking_id)

    async def release(self, fleet: str, driver: str, booking_id: str) -> None:
        await self._execute(RELEASE, fleet=fleet, driver=driver, booking_id=booking_id)

    async def withdraw(self, fleet: str, booking_id: str) -> None:
        # The inbox orders this and the request: the insert waits for a transaction that is handling the request, and
        # one that begins later finds the request handled.
        request_id = message_id(booking_id, ASK_FLEET.name, fleet)
        await self._execute(RECORD_MESSAGE, id=request_id, flow=ASK_FLEET.name, conversation_id=booking_id)
        await self._execute(RELEASE_ANY, fleet=fleet, booking_id=booking_id)

    async def save_route(self, booking_id: str, revision: int, geometry: RouteGeometry) -> None:
        text_ = msgspec.json.encode(geometry).decode()
        await self._execute(SAVE_ROUTE, booking_id=booking_id, revision=revision, geometry=text_)

    async def record_unreadable(self, reply: UnreadableReply) -> None:
        message = reply.unreadable.message
        await self._execute(
            RECORD_UNREADABLE,
            booking_id=reply.booking_id,
            fleet=reply.fleet,
            message_id=reply.message_id,
            received_at=reply.received_at,
            cause=reply.unreadable.cause.value,
            media_type=message.media_type,
            body=message.body,
        )

    async def list_unreadable(self, limit: int) -> Sequence[UnreadableReply]:
        rows = await self.connection.execute_without_begin(LIST_UNREADABLE, {"limit": limit})
        return [_unreadable_of(row) for row in rows]

    async def delete_unreadable(self, booking_id: str, fleet: str) -> None:
        await self._execute(DELETE_UNREADABLE, booking_id=booking_id, fleet=fleet)


def _unreadable_of(row: Any) -> UnreadableReply:
    message = ForeignMessage(row["media_type"], row["body"])
    return UnreadableReply(
        booking_id=row["booking_id"],
        fleet=row["fleet"],
        message_id=row["message_id"],
        received_at=row["received_at"],
        unreadable=UnreadableMessage(UnreadableCause(row["cause"]), message),
    )
