"""What a ride costs: distance, class, passengers, time and demand. The same ride costs the same, whoever asks."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from prebook.contracts.pricing import QuoteFare
from prebook.contracts.ride import Place, VehicleClass
from prebook.pricing.domain.demand import demand_percent
from prebook.pricing.domain.money import divide_half_up, percent_of

EARTH_RADIUS_M = 6_371_000
MIN_RIDE_M, MAX_RIDE_M = 100, 200_000
BASE_CENTS = 350
CENTS_PER_KM = {VehicleClass.STANDARD: 165, VehicleClass.COMFORT: 220, VehicleClass.XL: 270}
MIN_FARE_CENTS = 600
EXTRA_PASSENGER_CENTS = 50
NIGHT_HOURS, RUSH_HOURS = frozenset({22, 23, 0, 1, 2, 3, 4, 5}), frozenset({7, 8, 16, 17, 18})
NIGHT_PERCENT, RUSH_PERCENT, WEEKEND_PERCENT = 20, 15, 5
SATURDAY = 5


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
    if metres < MIN_RIDE_M:
        return TooShort(metres)
    if metres > MAX_RIDE_M:
        return TooFar(metres)
    at = ride.pickup_at.astimezone(UTC)
    plain = base_fare_cents(metres, ride.vehicle_class, ride.passengers)
    return plain + percent_of(plain, time_percent(at) + demand_percent(ride.pickup, at))


def base_fare_cents(metres: int, vehicle_class: VehicleClass, passengers: int) -> int:
    """Before what time and demand add."""
    by_distance = BASE_CENTS + divide_half_up(CENTS_PER_KM[vehicle_class] * metres, 1000)
    return max(MIN_FARE_CENTS, by_distance) + EXTRA_PASSENGER_CENTS * (passengers - 1)


def time_percent(at: datetime) -> int:
    """What night, rush hour and weekend add. ``at`` is in UTC, as all times of the suite are."""
    weekend = at.weekday() >= SATURDAY
    night = NIGHT_PERCENT if at.hour in NIGHT_HOURS else 0
    rush = RUSH_PERCENT if at.hour in RUSH_HOURS and not weekend else 0
    return night + rush + (WEEKEND_PERCENT if weekend else 0)
