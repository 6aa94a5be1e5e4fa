"""Bodies of the flow ``quote_fare``: booking requests a fare from pricing."""

from datetime import datetime

from prebook.contracts.message import Message
from prebook.contracts.ride import Money, Passengers, Place, VehicleClass
from prebook.contracts.riders import FareEnrichment, RiderProfile


class QuoteFare(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Request for the fare of a ride. Fields without a value are not sent."""

    pickup: Place
    dropoff: Place
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: Passengers
    rider_id: str | None = None
    """Rider whose profile is added; None if fares are not enriched."""
    profile: RiderProfile | None = None
    """Profile of the rider, which pricing adds before it quotes."""
    enrichment: FareEnrichment | None = None
    """Whether a profile was added; None in a request as booking sends it."""


class FareQuoted(Message, frozen=True, kw_only=True, omit_defaults=True):
    """Fare of a ride; the ride may be confirmed at it until ``valid_until``. Fields without a value are not sent."""

    fare: Money
    discount: Money
    """Discount of the campaign, already subtracted from ``fare``."""
    valid_until: datetime
    enrichment: FareEnrichment | None = None
    """Whether the fare follows from the rider's profile; None if fares are not enriched."""


class FareRefused(Message, frozen=True, kw_only=True):
    """Pricing has no fare for the ride."""

    reason: str


FareReply = FareQuoted | FareRefused
