"""A dead or hanging provider gets fewer calls than rides are offered."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import psutil
import pytest

from prebook.contracts.plan import Coupling
from tests.conditions import poll_until
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.metrics import read_counter
from tests.integration.rider_client import ACCEPTED_STATUSES, RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
RIDES = 120
RIDE_INTERVAL_S = 0.05
MAX_CALLS_PER_RIDE = 0.6
"""Retries and probes included. A caller without a circuit makes at least one call per ride, so fewer calls than rides
show that the circuit has opened while rides are still offered."""
UNAVAILABLE_CODE = "pricing_unavailable"
Outage = Callable[[ControlClient], AbstractAsyncContextManager[None]]


@dataclass
class OfferResults:
    """Results of the offered rides: ids of the accepted ones, and how many were refused because of pricing."""

    ids: list[str] = field(default_factory=list)
    refused: int = 0


@asynccontextmanager
async def pause_pricing(control: ControlClient) -> AsyncIterator[None]:
    """Suspend pricing while the block runs: its connections stay open, and no reply comes back."""
    process = psutil.Process(await control.read_pid("pricing"))
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@asynccontextmanager
async def kill_pricing(control: ControlClient) -> AsyncIterator[None]:
    """Kill pricing for the time of all offers."""
    await control.kill("pricing", RIDES * RIDE_INTERVAL_S)
    yield


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("start_outage", [kill_pricing, pause_pricing])
async def test_a_dead_provider_gets_fewer_calls_than_rides_are_offered(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient, start_outage: Outage
) -> None:
    calls_before = await _read_pricing_calls(suite)
    results = OfferResults()
    async with start_outage(control):
        began = time.monotonic()
        async with asyncio.TaskGroup() as requests:
            for number in range(RIDES):
                requests.create_task(_offer_ride(rider, results))
                # Sleep until the next ride is due, so that the rate is kept.
                await asyncio.sleep(max(0.0, began + (number + 1) * RIDE_INTERVAL_S - time.monotonic()))
        calls = await _read_pricing_calls(suite) - calls_before
    await control.wait_until_all_running()
    assert results.refused, "rides were refused because of pricing"
    assert 0 < calls / RIDES <= MAX_CALLS_PER_RIDE, f"{calls:g} calls for {RIDES} rides"
    await database.verify_bookings(results.ids)
    await poll_until(lambda: _is_ride_accepted(rider), 10)


async def _offer_ride(rider: RiderClient, results: OfferResults) -> None:
    response = await rider.post_booking(uniform_plan(Coupling.SYNC_API))
    if response.status_code in ACCEPTED_STATUSES:
        results.ids.append(response.json()["id"])
    elif response.json()["code"] == UNAVAILABLE_CODE:
        results.refused += 1


async def _is_ride_accepted(rider: RiderClient) -> bool:
    """Return whether a ride is accepted again, which shows that a probe has closed the circuit."""
    return (await rider.post_booking(uniform_plan(Coupling.SYNC_API))).status_code in ACCEPTED_STATUSES


async def _read_pricing_calls(suite: Suite) -> float:
    """Return the number of calls from booking to pricing, retries included."""
    return await read_counter(suite, "prebook_http_client_requests_total", "booking", provider="pricing")
