"""Booking's tables for SQLAlchemy Core; migrations/ddl/booking.sql creates them."""

from sqlalchemy import BigInteger, Column, Double, Integer, LargeBinary, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

METADATA = MetaData(schema="booking")
_TIME = TIMESTAMP(timezone=True)

BOOKING = Table(
    "booking",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("key", Text(collation="C"), nullable=False, unique=True),
    Column("rider_id", Text, nullable=False),
    Column("pickup_lat", Double, nullable=False),
    Column("pickup_lon", Double, nullable=False),
    Column("dropoff_lat", Double, nullable=False),
    Column("dropoff_lon", Double, nullable=False),
    Column("pickup_at", _TIME, nullable=False),
    Column("vehicle_class", Text, nullable=False),
    Column("passengers", Integer, nullable=False),
    Column("callback_url", Text),
    Column("plan", JSONB, nullable=False),
    Column("state", Text, nullable=False),
    Column("history", JSONB, nullable=False),
    Column("fare_cents", BigInteger),
    Column("currency", Text),
    Column("quote_valid_until", _TIME),
    Column("fleet", Text),
    Column("driver", Text),
    Column("minutes_away", Integer),
    Column("reason", Text),
    Column("notified_at", _TIME),
    Column("created_at", _TIME, nullable=False, server_default=func.now()),
)

IDEMPOTENCY_RECORD = Table(
    "idempotency_record",
    METADATA,
    Column("key", Text(collation="C"), primary_key=True),
    Column("booking_id", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary),
)
