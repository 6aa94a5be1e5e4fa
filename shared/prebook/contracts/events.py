"""Bodies of domain events, which are published whatever couplings a plan has. Source: EIP, Event Message."""

from datetime import datetime
from enum import StrEnum

from prebook.contracts.message import Message
from prebook.contracts.ride import Money


class BookingConfirmed(Message, frozen=True, kw_only=True):
    """A booking has a driver and a valid fare."""

    booking_id: str
    fleet: str
    driver: str
    fare: Money


class BookingEnding(StrEnum):
    """Reason why a booking ended without a ride."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class BookingEnded(Message, frozen=True, kw_only=True):
    """A booking has ended without a ride; subscribers release what they reserved for it."""

    booking_id: str
    ending: BookingEnding
    reason: str


class ReportDue(Message, frozen=True, kw_only=True):
    """A booking with a callback URL has settled, so that its rider's system must be called."""

    booking_id: str
    report_url: str
    outcome: str
    fare: Money | None
    reason: str | None
    occurred_at: datetime
    """When the booking reached the outcome, in UTC."""
    sequence: int
    """Number of the booking's state change, from 1: of two reports about a booking, the higher one is newer."""


class OfferVerdict(StrEnum):
    """Decision about a fleet's offer."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    LATE = "late"
    RELEASED = "released"


class OfferSettled(Message, frozen=True, kw_only=True):
    """A fleet's offer has been decided; every verdict but ``accepted`` frees the driver's slot."""

    booking_id: str
    fleet: str
    driver: str
    verdict: OfferVerdict
