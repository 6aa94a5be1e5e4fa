"""A trip: several rides that are booked together, as legs of one outcome. Vocabulary and HTTP bodies."""

from datetime import datetime
from enum import StrEnum

import msgspec

from prebook.contracts.ride import BookingState, Money

MIN_LEGS = 2
MAX_LEGS = 8
MIN_TRIP_DEADLINE_S = 1.0
MAX_TRIP_DEADLINE_S = 3600.0
DEFAULT_TRIP_DEADLINE_S = 900.0
"""Longer than the deadlines of quote_fare and find_driver together, so that each leg has its own outcome before."""


class TripPolicy(StrEnum):
    """Handling of legs that are not confirmed."""

    ALL = "all"
    """The first leg that is not confirmed ends the trip, and its other legs are cancelled."""
    PARTIAL = "partial"
    """Confirmed legs are kept; the trip has its outcome once all legs have theirs."""


class TripState(StrEnum):
    """State of a trip; SQL uses the same values."""

    REQUESTED = "requested"
    CONFIRMED = "confirmed"
    PARTLY_CONFIRMED = "partly_confirmed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class TripCompletion(StrEnum):
    """Reason why a trip's outcome was decided. Source: EIP, Aggregator, completeness condition."""

    ALL_LEGS = "all_legs"
    """Every leg had its outcome."""
    FAILED_LEG = "failed_leg"
    """A leg was not confirmed, under the policy ``all``."""
    DEADLINE = "deadline"
    """The deadline of the trip passed before."""
    CANCELLED = "cancelled"
    """The rider cancelled the trip before."""


class TripStateChange(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a trip's history."""

    state: TripState
    at: datetime


class LegOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome of one leg of a trip."""

    state: BookingState
    """Settled state of the leg's booking."""
    fare: Money | None = None
    reason: str | None = None
    """Reason why the leg is not confirmed."""
