"""Pricing's tables for SQLAlchemy Core; migrations/ddl/pricing.sql creates them."""

from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text, text

from prebook.postgres.state_literals import with_states
from prebook.postgres.tables import NOW, TIMESTAMPTZ, ZERO, messaging_tables, one_of, storage


class DiscountState(StrEnum):
    """State of a booking's discount grant."""

    GRANTED = "granted"
    """The booking has a discount of the campaign."""
    NONE_LEFT = "none_left"
    """The quota was used up when the booking was quoted."""
    RETURNED = "returned"
    """The booking ended and its discount went back to the campaign."""
    ENDED = "ended"
    """The booking ended before it was quoted; a later quote gets no discount."""


METADATA = messaging_tables("pricing")
CAMPAIGN = Table(
    "campaign",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("quota", BigInteger, nullable=False, server_default=ZERO),
    Column("granted", BigInteger, nullable=False, server_default=ZERO),
    CheckConstraint("granted BETWEEN 0 AND quota", name="campaign_granted_check"),
    info=storage(fillfactor=10),
)
DISCOUNT_GRANT = Table(
    "discount_grant",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("updated_at", TIMESTAMPTZ, nullable=False, server_default=NOW),
    CheckConstraint(one_of("state", DiscountState), name="discount_grant_state_check"),
    Index("discount_grant_age", "updated_at", postgresql_where=text(with_states("state <> {GRANTED}", DiscountState))),
    Index(
        "discount_grant_granted_age",
        "updated_at",
        postgresql_where=text(with_states("state = {GRANTED}", DiscountState)),
    ),
)
