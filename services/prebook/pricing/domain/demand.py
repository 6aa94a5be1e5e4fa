"""The forecast of demand for a zone and an hour.

A forecast, and not the load of the moment: a ride's fare then depends on the ride alone, so that the same ride has the
same fare under every plan and the plans can be compared.
"""

import math
from datetime import datetime
from hashlib import blake2b

from prebook.contracts.ride import Place
from prebook.pricing.domain.money import percent_of

ZONES_PER_DEGREE = 50
"""A zone is about 2 km from south to north."""
BUSIEST_PERCENT = 30
HOURLY_SURCHARGE_PERCENT = (9, 7, 5, 3, 2, 4, 10, 22, 26, 16, 9, 8, 11, 12, 9, 12, 18, 27, 30, 25, 20, 17, 15, 12)
"""What the busiest zone adds to a fare in each hour of the day, UTC."""


def demand_percent(pickup: Place, at: datetime) -> int:
    """What demand adds to a fare: the hour's surcharge, as far as the zone is a popular one. ``at`` is in UTC."""
    return percent_of(HOURLY_SURCHARGE_PERCENT[at.hour], popularity_percent(zone_of(pickup)))


def zone_of(place: Place) -> tuple[int, int]:
    return math.floor(place.lat * ZONES_PER_DEGREE), math.floor(place.lon * ZONES_PER_DEGREE)


def popularity_percent(zone: tuple[int, int]) -> int:
    """0 to 100, spread over the map by a hash: the same in every process, as ``hash()`` would not be."""
    north, east = zone
    drawn = blake2b(f"{north}:{east}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn) % 101
