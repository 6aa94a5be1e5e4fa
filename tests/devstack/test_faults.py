"""A suite under the faults of the control API settles all rides, and loses and duplicates none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import asyncpg
import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.devstack.service_environment import lab_environment
from prebook.devstack.supervisor.contract import (
    ProcessInfo,
    ProcessState,
    ProxyInfo,
    ProxyState,
    ServerInfo,
    ServerState,
)
from prebook.lab.faults import FAULT_CATALOGUE, fault_access, inject
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.ride_offers import offer_rides
from tests.integration.rider_client import ACCEPTED_STATUSES, RiderClient, uniform_plan
from tests.integration.suite import Suite, start_suite

pytestmark = [pytest.mark.real, pytest.mark.long]
PLANS = [uniform_plan(coupling) for coupling in Coupling]
PRICING_PROXIES = ("pricing-broker", "pricing-database", "http-pricing")
LINK_FAULTS = (
    "link_slow_booking_database",
    "link_cut_matching_broker",
    "link_black_hole_fleets_database",
    "link_response_loss_http_pricing",
)
PROXY_FAULTS = [state for state in ProxyState if state is not ProxyState.HEALTHY]
FAULT_DURATION_S = 2.0
RECOVERY_TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with start_suite({"PREBOOK_FAULT_PROXIES": "1"}, tmp_path_factory.mktemp("proxied") / "home") as suite:
        yield suite


@asynccontextmanager
async def open_database(suite: Suite) -> AsyncIterator[DatabaseProbe]:
    """Open a connection of the administrator; a restart of the database closes it."""
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    try:
        yield DatabaseProbe(connection)
    finally:
        await connection.close()


@pytest.fixture
async def database(suite: Suite) -> AsyncIterator[DatabaseProbe]:
    async with open_database(suite) as database:
        yield database


@pytest.fixture
async def rider(suite: Suite) -> AsyncIterator[RiderClient]:
    async with httpx.AsyncClient(base_url=suite.state.urls["booking"], timeout=30, trust_env=False) as http:
        yield RiderClient(http)


@pytest.fixture
async def control(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    bearer = {"Authorization": f"Bearer {suite.state.control_token}"}
    async with httpx.AsyncClient(base_url=suite.state.control_url, headers=bearer, trust_env=False) as http:
        yield http


async def _post_command(control: httpx.AsyncClient, path: str, body: dict[str, object]) -> None:
    response = await control.post(path, json=body)
    assert response.status_code == 200, response.text


async def _proxies(control: httpx.AsyncClient) -> dict[str, ProxyInfo]:
    response = await control.get("/proxies")
    return {proxy.name: proxy for proxy in msgspec.json.decode(response.content, type=list[ProxyInfo])}


async def _is_healthy(control: httpx.AsyncClient, name: str) -> bool:
    return (await _proxies(control))[name].state is ProxyState.HEALTHY


async def test_the_services_use_the_proxies(
    rider: RiderClient, database: DatabaseProbe, control: httpx.AsyncClient
) -> None:
    assert all_in_state(await database.verify_bookings(await rider.prebook_all(PLANS)), "confirmed")
    proxies = await _proxies(control)
    assert set(PRICING_PROXIES) <= set(proxies)
    assert all(proxies[name].connections for name in PRICING_PROXIES), proxies


@pytest.mark.parametrize("fault", PROXY_FAULTS)
async def test_pricing_survives_every_fault_of_its_proxies(
    rider: RiderClient, database: DatabaseProbe, control: httpx.AsyncClient, fault: ProxyState
) -> None:
    async with offer_rides(rider, PLANS, retry=True) as offers:
        for name in PRICING_PROXIES:
            await _post_command(control, f"/proxies/{name}/{fault}", {"duration_s": FAULT_DURATION_S, "delay_ms": 200})
            assert (await _proxies(control))[name].state is fault
            await poll_until(partial(_is_healthy, control, name), FAULT_DURATION_S + 5)
    states = await database.verify_bookings(offers.ids, allow_expired=True)
    assert set(states.values()) <= {"confirmed", "failed", "expired"}
    await poll_until(partial(_are_all_confirmed, rider, database), RECOVERY_TIMEOUT_S)


async def test_concurrent_faults_of_different_proxies_take_effect(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    """The faults are injected at the same time, as a campaign injects them."""
    async with aiohttp.ClientSession() as session:
        access = fault_access.read_fault_access(session, lab_environment(suite.state))
        windows = await asyncio.gather(*(inject(FAULT_CATALOGUE[name], 1.5, access) for name in LINK_FAULTS))
    assert [window.evidence for window in windows if not window.took_effect] == []
    await poll_until(partial(_are_all_confirmed, rider, database), RECOVERY_TIMEOUT_S)


@pytest.mark.parametrize("server", ["database", "broker"])
async def test_a_killed_server_loses_no_ride(
    suite: Suite, rider: RiderClient, control: httpx.AsyncClient, server: str
) -> None:
    async with offer_rides(rider, PLANS, retry=True) as offers:
        await _post_command(control, f"/servers/{server}/restart", {"shutdown": "kill", "down_s": 1.0})
        await poll_until(partial(_is_restarted, control, server), 60)
    async with open_database(suite) as database:
        states = await database.verify_bookings(offers.ids, allow_expired=True)
        assert set(states.values()) <= {"confirmed", "failed", "expired"}
        await poll_until(partial(_are_all_confirmed, rider, database), RECOVERY_TIMEOUT_S)


async def _is_restarted(control: httpx.AsyncClient, name: str) -> bool:
    response = await control.get("/servers")
    (server,) = [p for p in msgspec.json.decode(response.content, type=list[ServerInfo]) if p.name == name]
    return server.state is ServerState.RUNNING and server.restarts == 1


SKEW_S = 90.0
PAST_DEADLINE_STATES = {"failed", "expired"}


@pytest.mark.parametrize(("skew_s", "expected_states"), [(SKEW_S, PAST_DEADLINE_STATES), (-SKEW_S, {"confirmed"})])
async def test_a_skewed_clock_affects_only_the_deadlines_of_rides(
    rider: RiderClient, database: DatabaseProbe, control: httpx.AsyncClient, skew_s: float, expected_states: set[str]
) -> None:
    """A clock ahead makes every request expired for pricing; one behind does not. Its signatures stay valid."""
    await _skew_pricing(control, skew_s)
    try:
        assert (
            set((await database.verify_bookings(await rider.prebook_all(PLANS), allow_expired=True)).values())
            == expected_states
        )
    finally:
        await _skew_pricing(control, 0.0)
    await poll_until(partial(_are_all_confirmed, rider, database), RECOVERY_TIMEOUT_S)


async def _are_all_confirmed(rider: RiderClient, database: DatabaseProbe) -> bool:
    """Return whether every plan is accepted and confirmed, which needs closed circuits."""
    responses = [await rider.post_booking(plan) for plan in PLANS]
    if any(response.status_code not in ACCEPTED_STATUSES for response in responses):
        return False
    return all_in_state(await database.verify_bookings([response.json()["id"] for response in responses]), "confirmed")


async def _skew_pricing(control: httpx.AsyncClient, skew_s: float) -> None:
    await _post_command(control, "/processes/pricing/skew", {"skew_s": skew_s})
    await poll_until(partial(_runs_with, control, skew_s, await _read_pricing(control)), 30)


async def _read_pricing(control: httpx.AsyncClient) -> ProcessInfo:
    processes = msgspec.json.decode((await control.get("/processes")).content, type=list[ProcessInfo])
    return next(process for process in processes if process.name == "pricing")


async def _runs_with(control: httpx.AsyncClient, skew_s: float, before: ProcessInfo) -> bool:
    now = await _read_pricing(control)
    return now.state is ProcessState.RUNNING and now.pid != before.pid and now.clock_skew_s == skew_s
