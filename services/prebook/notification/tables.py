"""Notification's tables for SQLAlchemy Core; migrations/ddl/notification.sql creates them."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Identity, Index, Table, Text, text

from prebook.contracts.riders import RiderTier
from prebook.postgres.tables import NOW, TIMESTAMPTZ, messaging_tables, one_of

METADATA = messaging_tables("notification")
NOTIFIED = Table(
    "notified",
    METADATA,
    Column("booking_id", Text(collation="C"), primary_key=True),
    Column("notice", Text(collation="C"), primary_key=True),
    Column("notified_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Index("notified_age", "notified_at"),
)
DELIVERY = Table(
    "delivery",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("booking_id", Text(collation="C"), nullable=False),
    Column("notice", Text(collation="C"), nullable=False),
    Column("rider_id", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("delivered_at", TIMESTAMPTZ, nullable=False, server_default=text("clock_timestamp()")),
    Index("delivery_order", "booking_id", "notice", "delivered_at"),
    Index("delivery_age", "delivered_at"),
)
RIDER_PROFILE = Table(
    "rider_profile",
    METADATA,
    Column("rider_id", Text, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("home_zone", Text),
    Column("updated_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    CheckConstraint(one_of("tier", RiderTier), name="rider_profile_tier_check"),
)
