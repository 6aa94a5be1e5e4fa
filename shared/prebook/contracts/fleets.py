"""Matching asks each fleet for an offer."""

from datetime import datetime

from prebook.contracts.message import Message
from prebook.contracts.ride import Passengers, Place, VehicleClass


class AskFleet(Message, frozen=True, kw_only=True):
    fleet: str
    pickup: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: Passengers


class FleetOffered(Message, frozen=True, kw_only=True):
    """A driver, free in the slot of the pickup. The fleet holds the slot until it hears how the offer ended."""

    fleet: str
    driver: str
    slot: datetime
    """Start of the quarter of an hour that the pickup falls into."""
    minutes_away: int


class FleetDeclined(Message, frozen=True, kw_only=True):
    fleet: str
    reason: str


FleetReply = FleetOffered | FleetDeclined
