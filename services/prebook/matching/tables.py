"""Matching's tables for SQLAlchemy Core; migrations/ddl/matching.sql creates them."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from prebook.postgres.tables import NOW, TIMESTAMPTZ, messaging_tables, storage

METADATA = messaging_tables("matching")
AUCTION = Table(
    "auction",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    Column("closed", Boolean, nullable=False),
    Column("late_offers", Integer, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("opened_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("due_at", TIMESTAMPTZ),
    Index("auction_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    CheckConstraint("late_offers >= 0", name="auction_late_offers_check"),
    info=storage(fillfactor=70),
)
ASSIGNMENT = Table(
    "assignment",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    Column("fleet", Text, nullable=False),
    Column("driver", Text, nullable=False),
    Column("slot", TIMESTAMPTZ, nullable=False),
    Column("assigned_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    UniqueConstraint("driver", "slot", name="assignment_driver_slot_key"),
)
