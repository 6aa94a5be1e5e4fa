"""Booking asks pricing for a fare."""

from datetime import datetime

from prebook.contracts.message import Message
from prebook.contracts.ride import Money, Passengers, Place, VehicleClass


class QuoteFare(Message, frozen=True, kw_only=True):
    pickup: Place
    dropoff: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: Passengers


class FareQuoted(Message, frozen=True, kw_only=True):
    """The fare, and until when a ride may be confirmed at it."""

    fare: Money
    discount: Money
    """What the campaign took off; already subtracted from ``fare``."""
    valid_until: datetime


class FareRefused(Message, frozen=True, kw_only=True):
    reason: str


FareReply = FareQuoted | FareRefused
