"""Route of a ride on the map, shared by messages and HTTP bodies."""

from typing import Annotated, Literal

import msgspec

from prebook.contracts.ride import Latitude, Longitude

MAX_ROUTE_BYTES = 256 * 1024
"""Size limit of a route as JSON, in bytes; it bounds the number of points too."""
MIN_POINTS = 2


class RouteGeometry(msgspec.Struct, frozen=True, kw_only=True):
    """Line from pickup to drop-off. Source: RFC 7946 (GeoJSON), LineString."""

    type: Literal["LineString"]
    coordinates: Annotated[
        tuple[tuple[Longitude, Latitude], ...],
        msgspec.Meta(
            min_length=MIN_POINTS,
            description="points in the order of the ride, each as longitude and latitude in WGS 84 degrees",
        ),
    ]

    def __post_init__(self) -> None:
        """Give equal lines one form: -0.0 is 0.0. Longitudes 180 and -180 stay, since the lines to them differ."""
        points = tuple((lon + 0.0, lat + 0.0) for lon, lat in self.coordinates)
        msgspec.structs.force_setattr(self, "coordinates", points)


class RouteSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Response to a planned route."""

    booking_id: str
    revision: int
    """Number of the route among those of its booking, from 1."""
    points: int


class RouteView(msgspec.Struct, frozen=True, kw_only=True):
    """Route of a booking as its rider has planned it."""

    booking_id: str
    revision: int
    """Number of the route among those of its booking, from 1."""
    geometry: RouteGeometry
