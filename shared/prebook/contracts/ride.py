"""Words of the ride that several messages share."""

from enum import StrEnum
from typing import Annotated

import msgspec

Latitude = Annotated[float, msgspec.Meta(ge=-90.0, le=90.0, description="degrees north")]
Longitude = Annotated[float, msgspec.Meta(ge=-180.0, le=180.0, description="degrees east")]
Cents = Annotated[int, msgspec.Meta(ge=0, description="hundredths of the currency's unit")]
Passengers = Annotated[int, msgspec.Meta(ge=1, le=6)]


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A point on the map, WGS 84."""

    lat: Latitude
    lon: Longitude


class VehicleClass(StrEnum):
    STANDARD = "standard"
    COMFORT = "comfort"
    XL = "xl"


class Money(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount in hundredths of a currency's unit; never a float."""

    cents: Cents
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}(?![\s\S])")] = "EUR"
