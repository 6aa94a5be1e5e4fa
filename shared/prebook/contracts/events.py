"""What has happened, told to nobody in particular. Facts are published in every coupling."""

from enum import StrEnum

from prebook.contracts.message import Message
from prebook.contracts.ride import Money


class BookingConfirmed(Message, frozen=True, kw_only=True):
    booking_id: str
    fleet: str
    driver: str
    fare: Money


class BookingEnding(StrEnum):
    """How a booking ended without a ride."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class BookingEnded(Message, frozen=True, kw_only=True):
    """No ride comes of it: whoever holds something for this booking lets it go."""

    booking_id: str
    ending: BookingEnding
    reason: str


class ReportDue(Message, frozen=True, kw_only=True):
    """A booking has settled, and the rider's own system asked to be told."""

    booking_id: str
    report_url: str
    outcome: str
    fare: Money | None
    reason: str | None


class OfferVerdict(StrEnum):
    ACCEPTED = "accepted"
    DECLINED = "declined"
    LATE = "late"
    RELEASED = "released"


class OfferSettled(Message, frozen=True, kw_only=True):
    """How a fleet's offer ended; anything but ``accepted`` frees the driver's slot."""

    booking_id: str
    fleet: str
    driver: str
    verdict: OfferVerdict
