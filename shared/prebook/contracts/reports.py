"""Bodies of callbacks to riders' systems. They are formats of their own: an event between services may change without
them."""

from datetime import datetime
from typing import Literal

import msgspec

from prebook.contracts.ride import Money
from prebook.contracts.trip import LegOutcome, TripCompletion, TripState


class BookingReport(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the callback about a booking."""

    type: Literal["booking.settled.v1"] = "booking.settled.v1"
    booking_id: str
    sequence: int
    """Of two reports about a booking, the higher one is newer."""
    occurred_at: datetime
    outcome: str
    fare: Money | None
    reason: str | None


class TripReport(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the callback about a trip."""

    type: Literal["trip.settled.v1"] = "trip.settled.v1"
    trip_id: str
    outcome: TripState
    completed_by: TripCompletion
    legs: tuple[LegOutcome | None, ...]
    """Outcomes of the legs in their order; None for a leg without one when the trip was completed."""
    fare: Money | None
    reason: str | None
    occurred_at: datetime
    sequence: int
    """Of two reports about a trip, the higher one is newer."""
