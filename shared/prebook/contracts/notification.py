"""Bodies of the flow ``notify_rider``: booking requests notification to inform the rider."""

from enum import StrEnum

from prebook.contracts.message import Message


class Notice(StrEnum):
    """Kind of a notice to the rider. One booking has each notice at most once."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NotifyRider(Message, frozen=True, kw_only=True):
    """Request to send a notice to the rider."""

    rider_id: str
    notice: Notice
    text: str


class RiderNotified(Message, frozen=True, kw_only=True):
    """The notice has reached the rider."""

    notice: Notice
