"""Zones of the map, which all services compute alike."""

import math

from prebook.contracts.ride import Place

ZONES_PER_DEGREE = 50
"""A zone is about 2 km from south to north."""
DISPATCH_ZONES_PER_DEGREE = 10
"""A dispatch zone is about 11 km from south to north: large enough to list the zones of a desk by hand."""
DISPATCH_ZONE_PATTERN = r"^-?\d{1,2}\.\d,-?\d{1,3}\.\d$"


def zone_of(place: Place) -> tuple[int, int]:
    """Zone of a place: cells north of the equator and east of Greenwich."""
    return math.floor(place.lat * ZONES_PER_DEGREE), math.floor(place.lon * ZONES_PER_DEGREE)


def zone_name(place: Place) -> str:
    """Name of the zone of a place, such as ``2625:670``."""
    north, east = zone_of(place)
    return f"{north}:{east}"


def dispatch_zone(place: Place) -> str:
    """Return the dispatch zone of a place: latitude and longitude of its south-west corner, as in ``52.5,13.4``."""
    return f"{_corner(place.lat)},{_corner(place.lon)}"


def _corner(degrees: float) -> str:
    return f"{math.floor(degrees * DISPATCH_ZONES_PER_DEGREE) / DISPATCH_ZONES_PER_DEGREE:.1f}"
