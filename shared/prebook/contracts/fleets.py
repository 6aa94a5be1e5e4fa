"""Bodies of the flow ``ask_fleet``: matching requests an offer from each fleet."""

from datetime import datetime
from enum import StrEnum

from prebook.contracts.message import Message
from prebook.contracts.ride import Passengers, Place, RideMinutes, VehicleClass


class AskFleet(Message, frozen=True, kw_only=True):
    """Request for an offer of one fleet."""

    fleet: str
    pickup: Place
    pickup_at: datetime
    ride_minutes: RideMinutes
    vehicle_class: VehicleClass
    passengers: Passengers


class FleetOffered(Message, frozen=True, kw_only=True):
    """Offer of a driver who is free in every slot that the ride covers.

    The fleet reserves these slots until ``OfferSettled``.
    """

    fleet: str
    driver: str
    slot: datetime
    """Start of the quarter of an hour that the pickup falls into."""
    minutes_away: int


class DeclineCause(StrEnum):
    """Machine-readable cause of a refusal; ``reason`` is for people."""

    DECLINED = "declined"
    """The fleet has declined, or has no free driver."""
    NO_REPLY = "no_reply"
    """The partner has not replied in time."""
    UNREADABLE = "unreadable"
    """The partner's reply was garbled, or of an unknown version."""


class FleetDeclined(Message, frozen=True, kw_only=True):
    """The fleet has no driver for the ride."""

    fleet: str
    reason: str
    cause: DeclineCause = DeclineCause.DECLINED


FleetReply = FleetOffered | FleetDeclined
