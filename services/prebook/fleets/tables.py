"""The fleets' tables for SQLAlchemy Core; migrations/ddl/fleets.sql and fleets_routes.sql create them."""

from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from prebook.postgres.tables import NOW, TIMESTAMPTZ, messaging_tables, one_of


class ReservationState(StrEnum):
    """State of a reservation."""

    RESERVED = "reserved"
    """The driver is offered to the booking; another booking may reserve the driver after ``expires_at``."""
    BOOKED = "booked"
    """The offer was accepted; the slot stays taken."""


METADATA = messaging_tables("fleets")
RESERVATION = Table(
    "reservation",
    METADATA,
    Column("fleet", Text, nullable=False),
    Column("driver", Text, nullable=False),
    Column("slot", TIMESTAMPTZ, nullable=False),
    Column("booking_id", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=ReservationState.RESERVED.value),
    Column("reserved_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("expires_at", TIMESTAMPTZ, nullable=False),
    PrimaryKeyConstraint("fleet", "driver", "slot"),
    UniqueConstraint("fleet", "booking_id", "slot", name="reservation_fleet_booking_id_slot_key"),
    CheckConstraint(one_of("state", ReservationState), name="reservation_state_check"),
)
ROUTE = Table(
    "route",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("geometry", Text, nullable=False),
    Column("received_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    CheckConstraint("revision > 0", name="route_revision_check"),
    Index("route_age", "received_at"),
)
UNREADABLE_REPLY = Table(
    "unreadable_reply",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    Column("fleet", Text, primary_key=True),
    Column("received_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    Column("message_id", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
