"""Bodies of domain events, which are published whatever couplings a plan has. Source: EIP, Event Message."""

from datetime import datetime
from enum import StrEnum

from prebook.contracts.message import Message
from prebook.contracts.ride import Money, VehicleClass
from prebook.contracts.route import RouteGeometry
from prebook.contracts.trip import LegOutcome, TripCompletion, TripState

NO_FEE = Money(cents=0)


class BookingConfirmed(Message, frozen=True, kw_only=True):
    """A booking has a driver and a valid fare. The event contains the zone of the pickup, but no address."""

    booking_id: str
    fleet: str
    driver: str
    fare: Money
    vehicle_class: VehicleClass
    pickup_at: datetime
    """Start of the ride, in UTC."""
    zone: str
    """Zone of the pickup (``dispatch_zone``)."""
    distance_m: int
    """Distance from pickup to drop-off along the great circle, in metres."""


class BookingEnding(StrEnum):
    """Reason why a booking ended without a ride."""

    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


class BookingEnded(Message, frozen=True, kw_only=True):
    """A booking has ended without a ride; subscribers release what they reserved for it.

    This is version 3 (``contracts.versions``).
    """

    booking_id: str
    ending: BookingEnding
    reason: str
    fee: Money = NO_FEE
    """Amount that the ending costs the rider."""


class ReportDue(Message, frozen=True, kw_only=True):
    """A booking with a callback URL has settled, so that its rider's system must be called."""

    booking_id: str
    report_url: str
    outcome: str
    fare: Money | None
    reason: str | None
    occurred_at: datetime
    """When the booking reached the outcome, in UTC."""
    sequence: int
    """Number of the booking's state change, from 1: of two reports about a booking, the higher one is newer."""


class LegSettled(Message, frozen=True, kw_only=True):
    """A leg of a trip has its outcome. The event belongs to the conversation of the trip, whose legs it orders."""

    leg: int
    """Number of the leg, from 1."""
    booking_id: str
    """Booking of the leg."""
    outcome: LegOutcome


class TripReportDue(Message, frozen=True, kw_only=True):
    """A trip with a callback URL has reached an outcome, so that its rider's system must be called."""

    trip_id: str
    report_url: str
    outcome: TripState
    completed_by: TripCompletion
    legs: tuple[LegOutcome | None, ...]
    """Outcomes of the legs in their order; None for a leg without one when the trip was completed."""
    fare: Money | None
    """Total fare of the confirmed legs; None if the outcome is not a ride."""
    reason: str | None
    occurred_at: datetime
    """When the trip reached the outcome, in UTC."""
    sequence: int
    """Number of the trip's state change, from 1: of two reports about a trip, the higher one is newer."""


class RoutePlanned(Message, frozen=True, kw_only=True):
    """The rider has planned the route of a ride, or another one; the fleets' drivers follow it."""

    booking_id: str
    revision: int
    """Number of the route among those of its booking, from 1: the highest one counts, whichever arrives last."""
    geometry: RouteGeometry


class OfferVerdict(StrEnum):
    """Decision about a fleet's offer."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    LATE = "late"
    RELEASED = "released"
    WITHDRAWN = "withdrawn"
    """No answer of the fleet came in time: whatever it has reserved for the booking, or will, is not needed."""


class OfferSettled(Message, frozen=True, kw_only=True):
    """A fleet's offer has been decided; every verdict but ``accepted`` frees the driver's slot."""

    booking_id: str
    fleet: str
    driver: str
    """Offered driver; empty with ``withdrawn``, since no offer is known."""
    verdict: OfferVerdict
