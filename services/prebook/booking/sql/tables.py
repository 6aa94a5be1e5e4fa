"""Booking's tables for SQLAlchemy Core; migrations/ddl/booking.sql, booking_trips.sql and booking_routes.sql create
them.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from prebook.contracts.ride import BookingState
from prebook.contracts.trip import MAX_LEGS, MIN_LEGS, TripCompletion, TripPolicy, TripState
from prebook.postgres.state_literals import with_states
from prebook.postgres.tables import NOW, TIMESTAMPTZ, messaging_tables, one_of, storage

METADATA = messaging_tables("booking")
BOOKING = Table(
    "booking",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("key", Text(collation="C"), nullable=False),
    Column("rider_id", Text, nullable=False),
    Column("pickup_lat", Double, nullable=False),
    Column("pickup_lon", Double, nullable=False),
    Column("dropoff_lat", Double, nullable=False),
    Column("dropoff_lon", Double, nullable=False),
    Column("pickup_at", TIMESTAMPTZ, nullable=False),
    Column("vehicle_class", Text, nullable=False),
    Column("passengers", Integer, nullable=False),
    Column("callback_url", Text),
    Column("plan", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("history", JSONB, nullable=False),
    Column("fare_cents", BigInteger),
    Column("currency", Text),
    Column("quote_valid_until", TIMESTAMPTZ),
    Column("fleet", Text),
    Column("driver", Text),
    Column("minutes_away", Integer),
    Column("reason", Text),
    Column("notified_at", TIMESTAMPTZ),
    Column("created_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("trip_id", Text),
    Column("leg", Integer),
    UniqueConstraint("key", "rider_id", name="booking_key_rider_id_key"),
    CheckConstraint("pickup_lat BETWEEN -90 AND 90", name="booking_pickup_lat_check"),
    CheckConstraint("pickup_lon BETWEEN -180 AND 180", name="booking_pickup_lon_check"),
    CheckConstraint("dropoff_lat BETWEEN -90 AND 90", name="booking_dropoff_lat_check"),
    CheckConstraint("dropoff_lon BETWEEN -180 AND 180", name="booking_dropoff_lon_check"),
    CheckConstraint("passengers > 0", name="booking_passengers_check"),
    CheckConstraint(one_of("state", BookingState), name="booking_state_check"),
    CheckConstraint("fare_cents >= 0", name="booking_fare_cents_check"),
    CheckConstraint(
        with_states("state NOT IN ({PRICED}, {MATCHED}, {CONFIRMED}) OR fare_cents IS NOT NULL", BookingState),
        name="booking_quote_check",
    ),
    CheckConstraint(
        with_states(
            "state NOT IN ({MATCHED}, {CONFIRMED}) OR (fleet IS NOT NULL AND driver IS NOT NULL)", BookingState
        ),
        name="booking_driver_check",
    ),
    CheckConstraint("(trip_id IS NULL) = (leg IS NULL)", name="booking_leg_check"),
    Index("booking_trip", "trip_id", "leg", unique=True, postgresql_where=text("trip_id IS NOT NULL")),
    info=storage(fillfactor=60),
)
ROUTE = Table(
    "route",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("geometry", Text, nullable=False),
    Column("planned_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    CheckConstraint("revision > 0", name="route_revision_check"),
)
SWITCH = Table(
    "switch",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("changed_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
)
TRIP = Table(
    "trip",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("key", Text(collation="C"), nullable=False),
    Column("rider_id", Text, nullable=False),
    Column("plan", JSONB, nullable=False),
    Column("policy", Text, nullable=False),
    Column("deadline_s", Double, nullable=False),
    Column("callback_url", Text),
    Column("legs", Integer, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("results", JSONB, nullable=False),
    Column("completed_by", Text),
    Column("state", Text, nullable=False),
    Column("history", JSONB, nullable=False),
    Column("reason", Text),
    Column("notified_at", TIMESTAMPTZ),
    Column("created_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("due_at", TIMESTAMPTZ, nullable=False),
    UniqueConstraint("key", "rider_id", name="trip_key_rider_id_key"),
    CheckConstraint(one_of("policy", TripPolicy), name="trip_policy_check"),
    CheckConstraint(f"legs BETWEEN {MIN_LEGS} AND {MAX_LEGS}", name="trip_legs_check"),
    CheckConstraint(one_of("completed_by", TripCompletion), name="trip_completed_by_check"),
    CheckConstraint(one_of("state", TripState), name="trip_state_check"),
    CheckConstraint(
        with_states("(state = {REQUESTED}) = (completed_by IS NULL)", TripState), name="trip_completed_check"
    ),
    Index("trip_open", "due_at", postgresql_where=text(with_states("state = {REQUESTED}", TripState))),
    info=storage(fillfactor=60),
)
IDEMPOTENCY_RECORD = Table(
    "idempotency_record",
    METADATA,
    Column("key", Text(collation="C"), primary_key=True),
    Column("rider_id", Text, primary_key=True),
    Column("booking_id", Text, nullable=False, unique=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("created_at", TIMESTAMPTZ, nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary),
    CheckConstraint("(status IS NULL) = (body IS NULL)", name="idempotency_record_response_check"),
    Index("idempotency_record_created", "created_at"),
    info=storage(fillfactor=60),
)
TOKEN_WINDOW = Table(
    "token_window",
    METADATA,
    Column("campaign", Text, primary_key=True),
    Column("started_at", TIMESTAMPTZ, primary_key=True),
    Column("tokens_taken", Integer, nullable=False),
    CheckConstraint("tokens_taken > 0", name="token_window_tokens_taken_check"),
    info=storage(fillfactor=10),
)
