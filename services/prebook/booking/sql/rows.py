"""Conversion between bookings and rows."""

from typing import Any

import msgspec

from prebook.booking.domain.booking import Booking, Quote, Ride
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Driver, Money, Place, StateChange, VehicleClass

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
        "plan": _json(booking.plan),
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
    return _json(booking.history)


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
    )


def _json(value: Any) -> str:
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
