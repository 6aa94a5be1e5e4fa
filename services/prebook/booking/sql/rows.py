"""Conversion between bookings, trips and their rows."""

from typing import Any

import msgspec

from prebook.booking.domain.booking import Booking, Quote, Ride, TripLeg
from prebook.booking.domain.trip import Trip
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Driver, Money, Place, StateChange, VehicleClass
from prebook.contracts.trip import LegOutcome, TripCompletion, TripPolicy, TripStateChange
from prebook.patterns.aggregator import Aggregate

MUTABLE_COLUMNS = (
    "state",
    "history",
    "fare_cents",
    "currency",
    "quote_valid_until",
    "fleet",
    "driver",
    "minutes_away",
    "reason",
    "notified_at",
)
"""Columns that the statement SAVE writes."""
TRIP_MUTABLE_COLUMNS = ("results", "completed_by", "state", "history", "reason", "notified_at")
"""Columns that the statement SAVE_TRIP writes."""


def immutable_values(booking: Booking) -> dict[str, Any]:
    """Values of the columns that never change."""
    ride = booking.ride
    return {
        "id": booking.id,
        "key": booking.key,
        "rider_id": ride.rider_id,
        "pickup_lat": ride.pickup.lat,
        "pickup_lon": ride.pickup.lon,
        "dropoff_lat": ride.dropoff.lat,
        "dropoff_lon": ride.dropoff.lon,
        "pickup_at": ride.pickup_at,
        "vehicle_class": ride.vehicle_class.value,
        "passengers": ride.passengers,
        "callback_url": ride.report_url,
        "plan": to_json(booking.plan),
        "leg": booking.leg.number if booking.leg else None,
    }


def mutable_values(booking: Booking) -> dict[str, Any]:
    """Values of MUTABLE_COLUMNS."""
    quote = booking.quote
    driver = booking.driver
    return {
        "state": booking.state.value,
        "history": history_json(booking),
        "fare_cents": quote.fare.cents if quote else None,
        "currency": quote.fare.currency if quote else None,
        "quote_valid_until": quote.valid_until if quote else None,
        "fleet": driver.fleet if driver else None,
        "driver": driver.id if driver else None,
        "minutes_away": driver.minutes_away if driver else None,
        "reason": booking.reason,
        "notified_at": booking.notified_at,
    }


def history_json(booking: Booking) -> str:
    """JSON of the booking's state changes, oldest first."""
    return to_json(booking.history)


def booking_of(row: Any) -> Booking:
    """Booking of a row of the table ``booking``."""
    return Booking(
        id=row.id,
        key=row.key,
        ride=_ride(row),
        plan={flow: Coupling(coupling) for flow, coupling in row.plan.items()},
        history=msgspec.convert(row.history, tuple[StateChange, ...]),
        quote=_quote(row),
        driver=Driver(fleet=row.fleet, id=row.driver, minutes_away=row.minutes_away) if row.driver else None,
        reason=row.reason,
        notified_at=row.notified_at,
        leg=TripLeg(row.trip_id, row.leg) if row.trip_id else None,
    )


def trip_immutable_values(trip: Trip) -> dict[str, Any]:
    """Values of the trip's columns that never change."""
    return {
        "id": trip.id,
        "key": trip.key,
        "rider_id": trip.rider_id,
        "plan": to_json(trip.plan),
        "policy": trip.policy.value,
        "deadline_s": trip.deadline_s,
        "callback_url": trip.report_url,
        "legs": trip.legs.size,
    }


def trip_mutable_values(trip: Trip) -> dict[str, Any]:
    """Values of TRIP_MUTABLE_COLUMNS."""
    return {
        "results": to_json(trip.legs.results),
        "completed_by": trip.legs.completed_by,
        "state": trip.state.value,
        "history": to_json(trip.history),
        "reason": trip.reason,
        "notified_at": trip.notified_at,
    }


def trip_of(row: Any) -> Trip:
    """Trip of a row of the table ``trip``."""
    return Trip(
        id=row.id,
        key=row.key,
        rider_id=row.rider_id,
        plan={flow: Coupling(coupling) for flow, coupling in row.plan.items()},
        policy=TripPolicy(row.policy),
        deadline_s=row.deadline_s,
        report_url=row.callback_url,
        legs=Aggregate(
            group_id=row.id,
            size=row.legs,
            results={int(number): msgspec.convert(each, LegOutcome) for number, each in row.results.items()},
            completed_by=TripCompletion(row.completed_by) if row.completed_by else None,
        ),
        history=msgspec.convert(row.history, tuple[TripStateChange, ...]),
        reason=row.reason,
        notified_at=row.notified_at,
    )


def to_json(value: Any) -> str:
    """JSON of a value for a column."""
    return msgspec.json.encode(value).decode()


def _ride(row: Any) -> Ride:
    return Ride(
        rider_id=row.rider_id,
        pickup=Place(lat=row.pickup_lat, lon=row.pickup_lon),
        dropoff=Place(lat=row.dropoff_lat, lon=row.dropoff_lon),
        pickup_at=row.pickup_at,
        vehicle_class=VehicleClass(row.vehicle_class),
        passengers=row.passengers,
        report_url=row.callback_url,
    )


def _quote(row: Any) -> Quote | None:
    if row.fare_cents is None:
        return None
    return Quote(fare=Money(cents=row.fare_cents, currency=row.currency), valid_until=row.quote_valid_until)
