"""Vocabulary of a ride, shared by messages and HTTP bodies."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import msgspec

MAX_LATITUDE = 90.0
MAX_LONGITUDE = 180.0

Latitude = Annotated[float, msgspec.Meta(ge=-MAX_LATITUDE, le=MAX_LATITUDE, description="degrees north")]
Longitude = Annotated[
    float, msgspec.Meta(ge=-MAX_LONGITUDE, le=MAX_LONGITUDE, description="degrees east; 180 and -180 are one meridian")
]
Cents = Annotated[int, msgspec.Meta(ge=0, description="hundredths of the currency's unit")]
Passengers = Annotated[int, msgspec.Meta(ge=1, le=6)]
MAX_LABEL_CHARS = 100
RideMinutes = Annotated[int, msgspec.Meta(ge=1, le=24 * 60, description="minutes from pickup to drop-off")]
RideSeconds = Annotated[int, msgspec.Meta(ge=1, le=24 * 3600, description="seconds from pickup to drop-off")]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Point on the map, in WGS 84 degrees.

    Every point has one form, so that equal points compare, price and hash alike: longitude 180 is -180, a pole has
    longitude 0, and -0.0 is 0.0.
    """

    lat: Latitude
    lon: Longitude

    def __post_init__(self) -> None:
        is_pole = abs(self.lat) == MAX_LATITUDE
        lon = -MAX_LONGITUDE if self.lon == MAX_LONGITUDE else self.lon
        msgspec.structs.force_setattr(self, "lat", self.lat + 0.0)  # -0.0 + 0.0 is 0.0
        msgspec.structs.force_setattr(self, "lon", 0.0 if is_pole else lon + 0.0)


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Place where a vehicle stops."""

    place: Place
    label: Annotated[str, msgspec.Meta(max_length=MAX_LABEL_CHARS)] = ""
    """Name of the place for the driver, such as a gate; empty if it has none."""


class VehicleClass(StrEnum):
    """Class of the vehicle that a rider books."""

    STANDARD = "standard"
    COMFORT = "comfort"
    XL = "xl"


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Amount in integer cents of a currency."""

    cents: Cents
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}(?![\s\S])")] = "EUR"


class BookingState(StrEnum):
    """State of a booking; SQL uses the same values."""

    REQUESTED = "requested"
    PRICED = "priced"
    MATCHED = "matched"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


SETTLED_STATES = frozenset(
    {BookingState.CONFIRMED, BookingState.REJECTED, BookingState.EXPIRED, BookingState.CANCELLED, BookingState.FAILED}
)
"""States in which the outcome of the booking request is known."""


class StateChange(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a booking's history."""

    state: BookingState
    at: datetime


class Driver(msgspec.Struct, frozen=True, kw_only=True):
    """Driver that a fleet has offered for a booking."""

    fleet: str
    id: str
    minutes_away: int
