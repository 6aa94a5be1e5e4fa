"""Zones of the map: a rule on which the services agree."""

import math

from prebook.contracts.ride import Place

ZONES_PER_DEGREE = 50
"""A zone is about 2 km from south to north."""


def zone_of(place: Place) -> tuple[int, int]:
    """Zone of a place: cells north of the equator and east of Greenwich."""
    return math.floor(place.lat * ZONES_PER_DEGREE), math.floor(place.lon * ZONES_PER_DEGREE)


def zone_name(place: Place) -> str:
    """Name of the zone of a place, such as ``2625:670``."""
    north, east = zone_of(place)
    return f"{north}:{east}"
