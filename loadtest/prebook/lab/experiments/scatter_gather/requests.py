"""Requests for a driver, as booking sends them."""

import asyncio
from collections.abc import Iterable

from prebook.contracts.distance import SECONDS_PER_MINUTE, ride_minutes
from prebook.contracts.matching import FindDriver
from prebook.contracts.ride import Stop
from prebook.lab.experiments.stub_caller import StubCaller
from prebook.lab.load.rides import RideSpec

REQUEST_INTERVAL_S = 0.025
"""Pause between two requests, in which an idle machine handles one: a backlog would delay answers like a fleet."""


async def request_drivers(booking: StubCaller, rides: Iterable[tuple[str, RideSpec]]) -> None:
    """Request a driver for each booking id, and return once the broker has all requests."""
    for booking_id, ride in rides:
        await booking.send(booking_id, _find_driver(ride))
        await asyncio.sleep(REQUEST_INTERVAL_S)


def _find_driver(ride: RideSpec) -> FindDriver:
    return FindDriver(
        pickup=Stop(place=ride.pickup),
        pickup_at=ride.pickup_at,
        ride_s=ride_minutes(ride.pickup, ride.dropoff) * SECONDS_PER_MINUTE,
        vehicle_class=ride.vehicle_class,
        passengers=ride.passengers,
    )
