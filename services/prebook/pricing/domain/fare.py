"""What a ride costs: distance, class, time and demand. The same ride costs the same, whoever asks and however often."""

import math
from dataclasses import dataclass
from datetime import datetime

from prebook.contracts.pricing import QuoteFare
from prebook.contracts.ride import Place, VehicleClass

EARTH_RADIUS_M = 6_371_000
SHORTEST_RIDE_M, LONGEST_RIDE_M = 100, 200_000
BASE_CENTS = 350
CENTS_PER_KM = {VehicleClass.STANDARD: 165, VehicleClass.COMFORT: 220, VehicleClass.XL: 270}
MINIMUM_CENTS = 600
EXTRA_PASSENGER_CENTS = 50
NIGHT_HOURS, RUSH_HOURS = frozenset({22, 23, 0, 1, 2, 3, 4, 5}), frozenset({7, 8, 16, 17, 18})
NIGHT_PERCENT, RUSH_PERCENT, WEEKEND_PERCENT = 20, 15, 5
SATURDAY = 5
BUSIEST_PERCENT = 30
ZONES_PER_DEGREE = 50


@dataclass(frozen=True)
class TooShort:
    metres: int


@dataclass(frozen=True)
class TooFar:
    metres: int


def distance_m(a: Place, b: Place) -> int:
    """Great-circle distance in whole metres (haversine)."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    half_lat, half_lon = (lat_b - lat_a) / 2, math.radians(b.lon - a.lon) / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lon) ** 2
    return round(2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, h))))


def fare_of(ride: QuoteFare) -> int | TooShort | TooFar:
    """Cents, or why there is no fare."""
    metres = distance_m(ride.pickup, ride.dropoff)
    if metres < SHORTEST_RIDE_M:
        return TooShort(metres)
    if metres > LONGEST_RIDE_M:
        return TooFar(metres)
    by_distance = BASE_CENTS + CENTS_PER_KM[ride.vehicle_class] * metres // 1000
    plain = max(MINIMUM_CENTS, by_distance) + EXTRA_PASSENGER_CENTS * (ride.passengers - 1)
    return raised(plain, time_percent(ride.pickup_at) + demand_percent(ride.pickup, ride.pickup_at))


def raised(cents: int, percent: int) -> int:
    """Rounded half up."""
    return (cents * (100 + percent) + 50) // 100


def time_percent(at: datetime) -> int:
    """Night, rush hour and weekend, in UTC."""
    night = NIGHT_PERCENT if at.hour in NIGHT_HOURS else 0
    rush = RUSH_PERCENT if at.hour in RUSH_HOURS and at.weekday() < SATURDAY else 0
    weekend = WEEKEND_PERCENT if at.weekday() >= SATURDAY else 0
    return night + rush + weekend


def demand_percent(pickup: Place, at: datetime) -> int:
    """What is forecast for the zone (about 2 km) and the hour: a table would be better, the load of the moment worse.

    A forecast makes a ride's fare depend on the ride alone, so that it can be compared between plans.
    """
    zone = math.floor(pickup.lat * ZONES_PER_DEGREE) * 7919 + math.floor(pickup.lon * ZONES_PER_DEGREE) * 104_729
    return (zone + at.hour * 31 + at.weekday() * 17) % (BUSIEST_PERCENT + 1)
