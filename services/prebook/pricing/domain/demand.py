"""Demand forecast for a zone and an hour.

A forecast instead of the current load makes the fare a function of the ride alone: the same ride has the same fare
under every plan, so plans can be compared.
"""

from datetime import datetime
from hashlib import blake2b

from prebook.contracts.ride import Place
from prebook.contracts.zone import zone_of
from prebook.pricing.domain.money import percent_of

HOURLY_SURCHARGE_PERCENT = (9, 7, 5, 3, 2, 4, 10, 22, 26, 16, 9, 8, 11, 12, 9, 12, 18, 27, 30, 25, 20, 17, 15, 12)
"""Surcharge of the busiest zone for each hour of the day, UTC."""


def demand_percent(pickup: Place, at: datetime) -> int:
    """Demand surcharge in percent: the hour's surcharge in proportion to the zone's popularity. ``at`` is in UTC."""
    return percent_of(HOURLY_SURCHARGE_PERCENT[at.hour], popularity_percent(zone_of(pickup)))


def popularity_percent(zone: tuple[int, int]) -> int:
    """Popularity of a zone, 0 to 100, by a hash that is the same in every process (``hash()`` is not)."""
    north, east = zone
    digest = blake2b(f"{north}:{east}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 101
