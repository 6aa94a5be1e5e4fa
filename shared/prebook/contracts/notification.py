"""Booking asks notification to tell the rider."""

from enum import StrEnum

from prebook.contracts.message import Message


class Notice(StrEnum):
    """What the rider is told. One booking has each notice at most once."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NotifyRider(Message, frozen=True, kw_only=True):
    rider_id: str
    notice: Notice
    text: str


class RiderNotified(Message, frozen=True, kw_only=True):
    notice: Notice
