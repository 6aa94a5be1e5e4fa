"""Riders who book trips determined by a seed, and repeat a request until it is accepted."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import aiohttp
import msgspec

from prebook.contracts.booking import RideRequest
from prebook.contracts.ride import Place
from prebook.contracts.trip import MAX_TRIP_DEADLINE_S, TripPolicy
from prebook.contracts.trip_http import TripRequest
from prebook.lab.load.rides import RideSpec, nth_ride

LEGS_PER_TRIP = 3
TOO_SHORT_EVERY = 4
"""One trip in so many has a leg that is too short to have a fare."""
TOO_SHORT_DEGREES = 0.0002
MAX_CONCURRENT_RIDERS = 16
REQUEST_TIMEOUT_S = 10.0
RETRY_INTERVAL_S = 0.5
MAX_WAIT_S = 120.0
"""Seconds after which a rider stops repeating a request."""
ACCEPTED = 202


def trip_request(seed: int, number: int, week: datetime) -> TripRequest:
    """Return the request for trip ``number`` of ``seed``; every second trip has the policy ``partial``."""
    rides = [nth_ride(seed, number * LEGS_PER_TRIP + leg, week) for leg in range(LEGS_PER_TRIP)]
    legs = [_leg(ride) for ride in sorted(rides, key=lambda ride: ride.pickup_at)]
    if number % TOO_SHORT_EVERY == 0:
        failing = number // TOO_SHORT_EVERY % LEGS_PER_TRIP
        pickup = legs[failing].pickup
        dropoff = Place(lat=pickup.lat + TOO_SHORT_DEGREES, lon=pickup.lon)
        legs[failing] = msgspec.structs.replace(legs[failing], dropoff=dropoff)
    return TripRequest(
        rider_id=f"rider-{seed}-{number:05d}",
        legs=tuple(legs),
        policy=TripPolicy.PARTIAL if number % 2 else TripPolicy.ALL,
        deadline_s=MAX_TRIP_DEADLINE_S,
    )


async def book_trips(
    session: aiohttp.ClientSession, booking_url: str, requests: Sequence[TripRequest], prefix: str, first: int
) -> list[str]:
    """Book all trips, numbered from ``first``; return the keys of those that were accepted, without ``prefix``."""
    riders = asyncio.Semaphore(MAX_CONCURRENT_RIDERS)

    async def book(number: int, request: TripRequest) -> str | None:
        key = f"{number:05d}"
        async with riders:
            is_accepted = await _book(session, f"{booking_url}/v1/trips", request, f"{prefix}{key}")
        return key if is_accepted else None

    accepted = await asyncio.gather(*(book(number, request) for number, request in enumerate(requests, first)))
    return [key for key in accepted if key is not None]


async def _book(session: aiohttp.ClientSession, url: str, request: TripRequest, key: str) -> bool:
    """Repeat the request with its key until it is accepted, at most for MAX_WAIT_S."""
    body = msgspec.json.encode(request)
    headers = {"content-type": "application/json", "idempotency-key": key}
    options: dict[str, Any] = {"timeout": aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)}
    deadline = asyncio.get_running_loop().time() + MAX_WAIT_S
    while asyncio.get_running_loop().time() < deadline:
        try:
            async with session.post(url, data=body, headers=headers, **options) as response:
                if response.status == ACCEPTED:
                    return True
                wait_s = float(response.headers.get("retry-after", RETRY_INTERVAL_S))
        except (aiohttp.ClientError, TimeoutError):
            wait_s = RETRY_INTERVAL_S
        await asyncio.sleep(wait_s)
    return False


def _leg(ride: RideSpec) -> RideRequest:
    return RideRequest(
        pickup=ride.pickup,
        dropoff=ride.dropoff,
        pickup_at=ride.pickup_at,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
