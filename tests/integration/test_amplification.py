"""A provider that is dead, or hangs, is not called to death: measured from the riders to its door."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from prebook.contracts.plan import Coupling
from tests.conditions import poll_until
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import ACCEPTED_STATUSES, RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
RIDES, EVERY_S = 120, 0.05
MOST, OPENS_WITHIN_S = 1.1, 2.0
"""Calls for each ride that was offered; until the circuit is open, from the first call on."""
OPEN = "pricing_unavailable"
Break = Callable[[ControlClient], AbstractAsyncContextManager[None]]


@dataclass
class Offers:
    """``refused_after_s``: when rides were refused since pricing cannot be asked, from the first offer on."""

    ids: list[str] = field(default_factory=list)
    refused_after_s: list[float] = field(default_factory=list)


@asynccontextmanager
async def paused(control: ControlClient) -> AsyncIterator[None]:
    """Its connections stay open, and nothing comes back."""
    process = psutil.Process(await control.read_pid("pricing"))
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@asynccontextmanager
async def killed(control: ControlClient) -> AsyncIterator[None]:
    await control.kill("pricing", RIDES * EVERY_S)
    yield


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("broken", [killed, paused])
async def test_a_dead_provider_gets_hardly_more_calls_than_rides_were_offered(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient, broken: Break
) -> None:
    before = await _calls(suite)
    offers = Offers()
    async with broken(control):
        began = time.monotonic()
        async with asyncio.TaskGroup() as riding:
            for number in range(RIDES):
                riding.create_task(_offer(rider, offers, began))
                await asyncio.sleep(max(0.0, began + (number + 1) * EVERY_S - time.monotonic()))  # the rate
        calls = await _calls(suite) - before
    await control.wait_until_all_running()
    assert offers.refused_after_s, "the circuit has opened"
    assert min(offers.refused_after_s) <= OPENS_WITHIN_S
    assert 0 < calls / RIDES <= MOST, f"{calls:g} calls for {RIDES} rides"
    await database.verify_bookings(offers.ids)
    await poll_until(lambda: _accepts(rider), 10)


async def _offer(rider: RiderClient, offers: Offers, began: float) -> None:
    response = await rider.post_booking(uniform_plan(Coupling.SYNC_API))
    if response.status_code in ACCEPTED_STATUSES:
        offers.ids.append(response.json()["id"])
    elif response.json()["code"] == OPEN:
        offers.refused_after_s.append(time.monotonic() - began)


async def _accepts(rider: RiderClient) -> bool:
    """A probe of the circuit has succeeded."""
    return (await rider.post_booking(uniform_plan(Coupling.SYNC_API))).status_code in ACCEPTED_STATUSES


async def _calls(suite: Suite) -> float:
    """That have left booking for pricing, tries included."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        page = (await http.get(f"{suite.state.urls['booking']}/metrics")).text
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    return sum(
        s.value for s in samples if s.name == "prebook_http_client_requests_total" and s.labels["provider"] == "pricing"
    )
