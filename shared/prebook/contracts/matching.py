"""Bodies of the flow ``find_driver``: booking requests a driver from matching."""

from datetime import datetime

from prebook.contracts.message import Message
from prebook.contracts.ride import Passengers, RideSeconds, Stop, VehicleClass


class FindDriver(Message, frozen=True, kw_only=True):
    """Request for a driver, version 3 (``contracts.versions``)."""

    pickup: Stop
    pickup_at: datetime
    ride_s: RideSeconds
    vehicle_class: VehicleClass
    passengers: Passengers


class DriverMatched(Message, frozen=True, kw_only=True):
    """A fleet's driver is reserved for the ride."""

    fleet: str
    driver: str
    minutes_away: int
    fleets_asked: int = 0
    fleets_replied: int = 0
    """Number of fleets that had replied; if it is below ``fleets_asked``, the match is a partial answer."""


class NoDriverFound(Message, frozen=True, kw_only=True):
    """No fleet has offered a driver in time."""

    fleets_asked: int
    """Number of fleets that were asked."""
    reason: str
    fleets_replied: int = 0
    """Number of fleets that had replied."""


DriverReply = DriverMatched | NoDriverFound
