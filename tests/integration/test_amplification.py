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
from tests.conditions import eventually
from tests.integration.books import Books
from tests.integration.control import Control
from tests.integration.riders import ACCEPTED, Riders, pure
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
RIDES, EVERY_S = 120, 0.05
MOST, OPENS_WITHIN_S = 1.1, 2.0
"""Calls for each ride that was offered; until the circuit is open, from the first call on."""
OPEN = "pricing_unavailable"
Break = Callable[[Control], AbstractAsyncContextManager[None]]


@dataclass
class Offers:
    """``refused_after_s``: when rides were refused since pricing cannot be asked, from the first offer on."""

    ids: list[str] = field(default_factory=list)
    refused_after_s: list[float] = field(default_factory=list)


@asynccontextmanager
async def paused(control: Control) -> AsyncIterator[None]:
    """Its connections stay open, and nothing comes back."""
    process = psutil.Process(await control.pid("pricing"))
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@asynccontextmanager
async def killed(control: Control) -> AsyncIterator[None]:
    await control.kill("pricing", RIDES * EVERY_S)
    yield


@pytest.mark.usefixtures("broker")
@pytest.mark.parametrize("broken", [killed, paused])
async def test_a_dead_provider_gets_hardly_more_calls_than_rides_were_offered(
    suite: Suite, riders: Riders, books: Books, control: Control, broken: Break
) -> None:
    before = await _calls(suite)
    offers = Offers()
    async with broken(control):
        began = time.monotonic()
        async with asyncio.TaskGroup() as riding:
            for number in range(RIDES):
                riding.create_task(_offer(riders, offers, began))
                await asyncio.sleep(max(0.0, began + (number + 1) * EVERY_S - time.monotonic()))  # the rate
        calls = await _calls(suite) - before
    await control.all_run()
    assert offers.refused_after_s, "the circuit has opened"
    assert min(offers.refused_after_s) <= OPENS_WITHIN_S
    assert 0 < calls / RIDES <= MOST, f"{calls:g} calls for {RIDES} rides"
    await books.add_up(offers.ids)
    await eventually(lambda: _accepts(riders), 10)


async def _offer(riders: Riders, offers: Offers, began: float) -> None:
    response = await riders.post(pure(Coupling.SYNC_API))
    if response.status_code in ACCEPTED:
        offers.ids.append(response.json()["id"])
    elif response.json()["code"] == OPEN:
        offers.refused_after_s.append(time.monotonic() - began)


async def _accepts(riders: Riders) -> bool:
    """A probe of the circuit has succeeded."""
    return (await riders.post(pure(Coupling.SYNC_API))).status_code in ACCEPTED


async def _calls(suite: Suite) -> float:
    """That have left booking for pricing, tries included."""
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        page = (await http.get(f"{suite.where.urls['booking']}/metrics")).text
    samples = [s for family in text_string_to_metric_families(page) for s in family.samples]
    return sum(
        s.value for s in samples if s.name == "prebook_http_client_requests_total" and s.labels["provider"] == "pricing"
    )
