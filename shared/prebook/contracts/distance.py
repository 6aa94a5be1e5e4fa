"""Distance and duration of a ride: rules on which the services agree."""

import math

from prebook.contracts.ride import Place

EARTH_RADIUS_M = 6_371_000
SECONDS_PER_MINUTE = 60
METRES_PER_MINUTE = 500
"""Speed along the great circle, 30 km/h: streets are longer than the great circle."""


def distance_m(a: Place, b: Place) -> int:
    """Great-circle distance in whole metres. Source: haversine formula."""
    lat_a = math.radians(a.lat)
    lat_b = math.radians(b.lat)
    half_lat = (lat_b - lat_a) / 2
    half_lon = math.radians(b.lon - a.lon) / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lon) ** 2
    return round(2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, h))))


def ride_minutes(pickup: Place, dropoff: Place) -> int:
    """Minutes from pickup to drop-off, rounded up, at least 1: for so long the ride needs its driver."""
    return max(1, -(-distance_m(pickup, dropoff) // METRES_PER_MINUTE))


def whole_minutes(seconds: int) -> int:
    """Return a duration in minutes, rounded up: a ride keeps its driver for long enough."""
    return -(-seconds // SECONDS_PER_MINUTE)
