"""Bodies of the flow ``quote_fare``: booking requests a fare from pricing."""

from datetime import datetime

from prebook.contracts.message import Message
from prebook.contracts.ride import Money, Passengers, Place, VehicleClass


class QuoteFare(Message, frozen=True, kw_only=True):
    """Request for the fare of a ride."""

    pickup: Place
    dropoff: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: Passengers


class FareQuoted(Message, frozen=True, kw_only=True):
    """Fare of a ride; the ride may be confirmed at it until ``valid_until``."""

    fare: Money
    discount: Money
    """Discount of the campaign, already subtracted from ``fare``."""
    valid_until: datetime


class FareRefused(Message, frozen=True, kw_only=True):
    """Pricing has no fare for the ride."""

    reason: str


FareReply = FareQuoted | FareRefused
