"""Fare of a ride: a function of distance, vehicle class, passengers, time, demand and the rider's profile only."""

from dataclasses import dataclass
from datetime import UTC, datetime

from prebook.contracts.distance import distance_m
from prebook.contracts.pricing import QuoteFare
from prebook.contracts.ride import VehicleClass
from prebook.contracts.riders import RiderProfile, RiderTier
from prebook.contracts.zone import zone_name
from prebook.pricing.domain.demand import demand_percent
from prebook.pricing.domain.money import divide_half_up, percent_of

MIN_RIDE_M = 100
MAX_RIDE_M = 200_000
BASE_CENTS = 350
CENTS_PER_KM = {VehicleClass.STANDARD: 165, VehicleClass.COMFORT: 220, VehicleClass.XL: 270}
MIN_FARE_CENTS = 600
EXTRA_PASSENGER_CENTS = 50
NIGHT_HOURS = frozenset({22, 23, 0, 1, 2, 3, 4, 5})
RUSH_HOURS = frozenset({7, 8, 16, 17, 18})
NIGHT_PERCENT = 20
RUSH_PERCENT = 15
WEEKEND_PERCENT = 5
SATURDAY = 5
TIER_PERCENT = {RiderTier.STANDARD: 0, RiderTier.SILVER: 3, RiderTier.GOLD: 6}
"""Percentage by which a tier lowers the fare."""


@dataclass(frozen=True)
class TooShort:
    """Ride below MIN_RIDE_M."""

    metres: int


@dataclass(frozen=True)
class TooFar:
    """Ride above MAX_RIDE_M."""

    metres: int


def fare_of(ride: QuoteFare) -> int | TooShort | TooFar:
    """Fare in cents, or the reason why there is none."""
    metres = distance_m(ride.pickup, ride.dropoff)
    if metres < MIN_RIDE_M:
        return TooShort(metres)
    if metres > MAX_RIDE_M:
        return TooFar(metres)
    at = ride.pickup_at.astimezone(UTC)
    base_cents = base_fare_cents(metres, ride.vehicle_class, ride.passengers)
    profile = ride.profile or RiderProfile()
    demand = 0 if zone_name(ride.pickup) == profile.home_zone else demand_percent(ride.pickup, at)
    cents = base_cents + percent_of(base_cents, time_percent(at) + demand)
    return cents - percent_of(cents, TIER_PERCENT[profile.tier])


def base_fare_cents(metres: int, vehicle_class: VehicleClass, passengers: int) -> int:
    """Fare in cents before the surcharges for time and demand."""
    distance_cents = BASE_CENTS + divide_half_up(CENTS_PER_KM[vehicle_class] * metres, 1000)
    return max(MIN_FARE_CENTS, distance_cents) + EXTRA_PASSENGER_CENTS * (passengers - 1)


def time_percent(at: datetime) -> int:
    """Surcharge in percent for night, rush hour and weekend. ``at`` is in UTC."""
    weekend = at.weekday() >= SATURDAY
    night = NIGHT_PERCENT if at.hour in NIGHT_HOURS else 0
    rush = RUSH_PERCENT if at.hour in RUSH_HOURS and not weekend else 0
    return night + rush + (WEEKEND_PERCENT if weekend else 0)
