"""Rides to request, determined by a seed: the n-th ride of a seed is the same under every plan."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from prebook.contracts.booking import BookingRequest
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Place, VehicleClass

SOUTH = 52.42
NORTH = 52.58
WEST = 13.25
EAST = 13.55
"""Bounding box around Berlin, in degrees."""
KM_PER_DEGREE = 111.32
MIN_RIDE_KM = 1.0
MAX_RIDE_KM = 18.0

QUARTERS_PER_WEEK = 7 * 96
QUARTER_STRIDE = 271
"""Coprime to QUARTERS_PER_WEEK: no two rides share a quarter of an hour until all are used, so that a shortage of
drivers does not decide a comparison of couplings."""
MIN_NOTICE_DAYS = 7

SEATS: Mapping[VehicleClass, int] = {VehicleClass.STANDARD: 4, VehicleClass.COMFORT: 4, VehicleClass.XL: 6}
CLASS_WEIGHTS: Mapping[VehicleClass, int] = {VehicleClass.STANDARD: 6, VehicleClass.COMFORT: 3, VehicleClass.XL: 1}


@dataclass(frozen=True)
class RideSpec:
    """A ride to request: rider, route, pickup time in UTC, vehicle class and passengers."""

    number: int
    rider_id: str
    pickup: Place
    dropoff: Place
    distance_km: float
    pickup_at: datetime
    vehicle_class: VehicleClass
    passengers: int


def campaign_week(now: datetime) -> datetime:
    """Return the first Monday, 00:00 UTC, at least MIN_NOTICE_DAYS ahead: runs in one week request the same times."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    earliest = midnight + timedelta(days=MIN_NOTICE_DAYS + 1)
    return earliest + timedelta(days=-earliest.weekday() % 7)


def nth_ride(seed: int, number: int, week: datetime) -> RideSpec:
    """Return ride ``number`` of ``seed``, with a pickup in the week that starts at ``week``."""
    rng = random.Random(f"ride:{seed}:{number}")
    pickup = Place(lat=round(rng.uniform(SOUTH, NORTH), 5), lon=round(rng.uniform(WEST, EAST), 5))
    distance_km = rng.uniform(MIN_RIDE_KM, MAX_RIDE_KM)
    vehicle_class = rng.choices(list(CLASS_WEIGHTS), weights=list(CLASS_WEIGHTS.values()))[0]
    return RideSpec(
        number=number,
        rider_id=f"rider-{seed}-{number:05d}",
        pickup=pickup,
        dropoff=destination(pickup, distance_km, rng.uniform(0.0, math.tau)),
        distance_km=round(distance_km, 3),
        pickup_at=pickup_time(rng, seed, number, week),
        vehicle_class=vehicle_class,
        passengers=rng.randint(1, SEATS[vehicle_class]),
    )


def pickup_time(rng: random.Random, seed: int, number: int, week: datetime) -> datetime:
    """Return a random minute in the quarter of an hour that belongs to ride ``number``."""
    quarter = (number * QUARTER_STRIDE + seed) % QUARTERS_PER_WEEK
    return week + timedelta(minutes=15 * quarter + rng.randrange(15))


def destination(start: Place, km: float, bearing: float) -> Place:
    """Return the place ``km`` kilometres from ``start`` at ``bearing`` radians, by the flat-earth approximation.

    The error is a few metres at these distances.
    """
    north = km * math.cos(bearing)
    east = km * math.sin(bearing)
    lat = start.lat + north / KM_PER_DEGREE
    lon = start.lon + east / (KM_PER_DEGREE * math.cos(math.radians(start.lat)))
    return Place(lat=round(lat, 5), lon=round(lon, 5))


def booking_request(
    ride: RideSpec, plan: Mapping[str, Coupling] | None, callback_url: str | None = None
) -> BookingRequest:
    """Return the request body for ``ride`` under ``plan``, or under the suite's default plan (None).

    ``callback_url``: URL of the rider's system, if any.
    """
    return BookingRequest(
        rider_id=ride.rider_id,
        pickup=ride.pickup,
        dropoff=ride.dropoff,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
        callback_url=callback_url,
        couplings=dict(plan) if plan else None,
    )
