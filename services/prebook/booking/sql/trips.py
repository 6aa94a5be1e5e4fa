"""Trips and their legs on PostgreSQL."""

from collections.abc import Sequence

from sqlalchemy import bindparam, func, select, text, tuple_, update

from prebook.booking.domain.booking import Booking, RiderKey
from prebook.booking.domain.trip import Trip
from prebook.booking.sql.rows import (
    TRIP_MUTABLE_COLUMNS,
    booking_of,
    history_json,
    immutable_values,
    trip_immutable_values,
    trip_mutable_values,
    trip_of,
)
from prebook.booking.sql.tables import BOOKING, TRIP
from prebook.booking.store import DuplicateKey, LedgerPosition, LockedTrip, TripRecord
from prebook.contracts.ride import BookingState
from prebook.contracts.trip import TripState
from prebook.postgres.flush import GuardInsert
from prebook.postgres.state_literals import with_states
from prebook.postgres.unit_of_work import SqlUnitOfWork

LEG_COLUMNS = {
    "id": "text",
    "key": "text",
    **dict.fromkeys(("pickup_lat", "pickup_lon", "dropoff_lat", "dropoff_lon"), "double precision"),
    "pickup_at": "timestamptz",
    "vehicle_class": "text",
    "passengers": "integer",
    "leg": "integer",
}
"""Columns in which the new legs of a trip differ, with their types."""

# The trip's unique key decides between two requests; without a new trip there are no new legs.
CREATE_TRIP = f"""
    inserted AS (
        INSERT INTO trip (id, key, rider_id, plan, policy, deadline_s, callback_url, legs, fingerprint, response,
            results, state, history, due_at)
        VALUES (:id, :key, :rider_id, :plan, :policy, :deadline_s, :callback_url, :legs, :fingerprint, :response,
            :results, :state, :history, now() + make_interval(secs => :deadline_s))
        ON CONFLICT (key, rider_id) DO NOTHING RETURNING id, rider_id, plan),
    inserted_legs AS (
        INSERT INTO booking (trip_id, rider_id, plan, state, history, {", ".join(LEG_COLUMNS)})
        SELECT inserted.id, rider_id, plan, CAST(:leg_state AS text), CAST(:leg_history AS jsonb), new.*
        FROM inserted, unnest({", ".join(f"CAST(:leg_{name} AS {kind}[])" for name, kind in LEG_COLUMNS.items())})
            AS new ({", ".join(LEG_COLUMNS)}) RETURNING 1),
    guard AS (SELECT 1 FROM inserted_legs LIMIT 1)"""  # noqa: S608 - names from the lines above
FIND_TRIP = select(TRIP).where(TRIP.c.id == bindparam("of"))
FIND_TRIP_RECORD = select(TRIP.c.id, TRIP.c.fingerprint, TRIP.c.response).where(
    TRIP.c.key == bindparam("of_key"), TRIP.c.rider_id == bindparam("of_rider")
)
FIND_LEGS = select(BOOKING).where(BOOKING.c.trip_id == bindparam("of")).order_by(BOOKING.c.leg)
LOCK_TRIP = select(TRIP, func.clock_timestamp().label("db_now")).where(TRIP.c.id == bindparam("of")).with_for_update()
# Transactions that lock several bookings do so in the order of their ids, which is the order of the legs.
LOCK_LEGS = select(BOOKING).where(BOOKING.c.trip_id == bindparam("of")).order_by(BOOKING.c.id).with_for_update()
SAVE_TRIP = (
    update(TRIP)
    .values({name: bindparam(f"new_{name}", type_=TRIP.c[name].type) for name in TRIP_MUTABLE_COLUMNS})
    .where(TRIP.c.id == bindparam("of"))
)
LIST_OVERDUE = text(
    with_states(
        "SELECT * FROM trip WHERE state = {REQUESTED} AND due_at <= now() ORDER BY due_at LIMIT :limit", TripState
    )
)
READ_TRIP_LEDGER = (
    select(TRIP)
    .where(
        TRIP.c.key >= bindparam("prefix"),
        TRIP.c.key >= bindparam("after_key"),
        tuple_(TRIP.c.key, TRIP.c.id) > tuple_(bindparam("after_key"), bindparam("after_id")),
        func.starts_with(TRIP.c.key, bindparam("prefix")),
    )
    .order_by(TRIP.c.key, TRIP.c.id)
    .limit(bindparam("limit"))
)


class TripSql(SqlUnitOfWork):
    """The part of BookingWork about trips, on an open transaction."""

    async def create_trip(self, trip: Trip, legs: Sequence[Booking], record: TripRecord) -> None:
        rows = [immutable_values(leg) for leg in legs]
        values = {
            **trip_immutable_values(trip),
            **trip_mutable_values(trip),
            "fingerprint": record.fingerprint,
            "response": record.response,
            "leg_state": BookingState.REQUESTED.value,
            "leg_history": history_json(legs[0]),
            **{f"leg_{name}": [row[name] for row in rows] for name in LEG_COLUMNS},
        }
        self.guard_with(GuardInsert(CREATE_TRIP, values, DuplicateKey))

    async def find_trip_record(self, key: RiderKey) -> TripRecord | None:
        values = {"of_key": key.key, "of_rider": key.rider_id}
        row = (await self.connection.execute_without_begin(FIND_TRIP_RECORD, values)).first()
        return TripRecord(trip_id=row.id, fingerprint=row.fingerprint, response=row.response) if row else None

    async def find_trip(self, trip_id: str) -> Trip | None:
        row = (await self.connection.execute_without_begin(FIND_TRIP, {"of": trip_id})).first()
        return trip_of(row) if row else None

    async def find_legs(self, trip_id: str) -> Sequence[Booking]:
        return [booking_of(row) for row in await self.connection.execute_without_begin(FIND_LEGS, {"of": trip_id})]

    async def lock_trip(self, trip_id: str) -> LockedTrip | None:
        row = (await self.connection.execute(LOCK_TRIP, {"of": trip_id})).first()
        return LockedTrip(trip_of(row), due_at=row.due_at, db_now=row.db_now) if row else None

    async def lock_legs(self, trip_id: str) -> Sequence[Booking]:
        return [booking_of(row) for row in await self.connection.execute(LOCK_LEGS, {"of": trip_id})]

    async def save_trip(self, trip: Trip) -> None:
        new = {f"new_{name}": value for name, value in trip_mutable_values(trip).items()}
        await self.connection.execute(SAVE_TRIP, {"of": trip.id, **new})

    async def list_overdue_trips(self, limit: int) -> Sequence[Trip]:
        return [trip_of(row) for row in await self.connection.execute_without_begin(LIST_OVERDUE, {"limit": limit})]

    async def read_trip_ledger(self, prefix: str, after: LedgerPosition, limit: int) -> Sequence[Trip]:
        values = {"prefix": prefix, "after_key": after.key, "after_id": after.booking_id, "limit": limit}
        return [trip_of(row) for row in await self.connection.execute_without_begin(READ_TRIP_LEDGER, values)]
