"""Riders who book rides and plan routes of 200 KiB, by a seed, and repeat a request until it is answered."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from prebook.contracts.route import RouteGeometry
from prebook.lab.experiments.events import PLAN
from prebook.lab.load.rides import RideSpec, booking_request

ROUTE_BYTES = 200 * 1024
BYTES_PER_POINT = 27
"""Bytes of a point as JSON: two numbers with nine decimals."""
MAX_CONCURRENT_RIDERS = 8
REQUEST_TIMEOUT_S = 20.0
RETRY_INTERVAL_S = 0.5
MAX_WAIT_S = 120.0
"""Seconds after which a rider stops repeating a request."""
MIN_REFUSED_STATUS = 400
MIN_RETRIED_STATUS = 429


def route_of(ride: RideSpec) -> RouteGeometry:
    """Return a route from pickup to drop-off of about ROUTE_BYTES as JSON."""
    count = ROUTE_BYTES // BYTES_PER_POINT
    start, end = ride.pickup, ride.dropoff
    shares = [number / (count - 1) for number in range(count)]
    points = tuple(
        (
            round(start.lon + (end.lon - start.lon) * share, 9),
            round(start.lat + (end.lat - start.lat) * share, 9),
        )
        for share in shares
    )
    return RouteGeometry(type="LineString", coordinates=points)


async def book_rides(
    session: aiohttp.ClientSession, url: str, rides: Sequence[RideSpec], prefix: str
) -> dict[str, RideSpec]:
    """Book all rides; return them by the ids of their bookings."""

    async def book(ride: RideSpec) -> tuple[str, RideSpec]:
        body = msgspec.json.encode(booking_request(ride, PLAN))
        headers = {"idempotency-key": f"{prefix}{ride.number:05d}"}
        _, answer = await _request(session, "POST", f"{url}/v1/bookings", body, headers)
        return msgspec.json.decode(answer)["id"], ride

    return dict(await _limit_concurrency(book, rides))


async def plan_routes(session: aiohttp.ClientSession, url: str, bookings: Mapping[str, RideSpec]) -> list[str]:
    """Plan a route for each booking; return the ids of those that have one: a booking may have ended before."""

    async def plan(booking_id: str) -> str | None:
        body = msgspec.json.encode(route_of(bookings[booking_id]))
        status, _ = await _request(session, "PUT", f"{url}/v1/bookings/{booking_id}/route", body, {})
        return booking_id if status < MIN_REFUSED_STATUS else None

    return [each for each in await _limit_concurrency(plan, list(bookings)) if each is not None]


async def _limit_concurrency(call: Any, items: Sequence[Any]) -> list[Any]:
    riders = asyncio.Semaphore(MAX_CONCURRENT_RIDERS)

    async def one(item: Any) -> Any:
        async with riders:
            return await call(item)

    return await asyncio.gather(*map(one, items))


async def _request(
    session: aiohttp.ClientSession, method: str, url: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    """Repeat a request until it is answered with a status that repeating would not change. Raises TimeoutError."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    json = {"content-type": "application/json", **headers}
    async with asyncio.timeout(MAX_WAIT_S):
        while True:
            try:
                async with session.request(method, url, data=body, headers=json, timeout=timeout) as response:
                    if response.status < MIN_RETRIED_STATUS:
                        return response.status, await response.read()
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(RETRY_INTERVAL_S)
