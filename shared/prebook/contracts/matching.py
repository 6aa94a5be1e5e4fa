"""Booking asks matching for a driver."""

from datetime import datetime

from prebook.contracts.message import Message
from prebook.contracts.ride import Passengers, Place, VehicleClass


class FindDriver(Message, frozen=True, kw_only=True):
    pickup: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: Passengers


class DriverMatched(Message, frozen=True, kw_only=True):
    fleet: str
    driver: str
    minutes_away: int


class NoDriverFound(Message, frozen=True, kw_only=True):
    fleets_asked: int
    """How many fleets were asked."""
    reason: str


DriverReply = DriverMatched | NoDriverFound
