"""A whole suite under the faults of the control API: rides settle all the same, and nothing is lost or doubled."""

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

pytestmark = pytest.mark.real
PLANS = [uniform_plan(coupling) for coupling in Coupling]
OF_PRICING = ("pricing-broker", "pricing-database", "http-pricing")
OF_ALL_KINDS = (
    "link_slow_booking_database",
    "link_cut_matching_broker",
    "link_black_hole_fleets_database",
    "link_response_loss_http_pricing",
)
FAULTS = [state for state in ProxyState if state is not ProxyState.HEALTHY]
FOR_S = 2.0
WELL_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with start_suite({"PREBOOK_FAULT_PROXIES": "1"}, tmp_path_factory.mktemp("proxied") / "home") as suite:
        yield suite


@asynccontextmanager
async def opened(suite: Suite) -> AsyncIterator[DatabaseProbe]:
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    try:
        yield DatabaseProbe(connection)
    finally:
        await connection.close()


@pytest.fixture
async def database(suite: Suite) -> AsyncIterator[DatabaseProbe]:
    async with opened(suite) as database:
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


async def _asked(control: httpx.AsyncClient, path: str, body: dict[str, object]) -> None:
    answer = await control.post(path, json=body)
    assert answer.status_code == 200, answer.text


async def _proxies(control: httpx.AsyncClient) -> dict[str, ProxyInfo]:
    answer = await control.get("/proxies")
    return {proxy.name: proxy for proxy in msgspec.json.decode(answer.content, type=list[ProxyInfo])}


async def _is_whole(control: httpx.AsyncClient, name: str) -> bool:
    return (await _proxies(control))[name].state is ProxyState.HEALTHY


async def test_the_services_go_through_the_proxies(
    rider: RiderClient, database: DatabaseProbe, control: httpx.AsyncClient
) -> None:
    assert all_in_state(await database.verify_bookings(await rider.prebook_all(PLANS)), "confirmed")
    proxies = await _proxies(control)
    assert set(OF_PRICING) <= set(proxies)
    assert all(proxies[name].connections for name in OF_PRICING), proxies


@pytest.mark.parametrize("fault", FAULTS)
async def test_pricing_survives_what_its_proxies_do(
    rider: RiderClient, database: DatabaseProbe, control: httpx.AsyncClient, fault: ProxyState
) -> None:
    async with offer_rides(rider, PLANS, retry=True) as stream:
        for name in OF_PRICING:
            await _asked(control, f"/proxies/{name}/{fault}", {"duration_s": FOR_S, "delay_ms": 200})
            assert (await _proxies(control))[name].state is fault
            await poll_until(partial(_is_whole, control, name), FOR_S + 5)
    states = await database.verify_bookings(stream.ids, allow_expired=True)
    assert set(states.values()) <= {"confirmed", "failed", "expired"}
    await poll_until(partial(_all_well, rider, database), WELL_WITHIN_S)


async def test_each_proxy_has_a_fault_of_its_own(suite: Suite, rider: RiderClient, database: DatabaseProbe) -> None:
    """By the campaign's means, all at once, on proxies of different services."""
    async with aiohttp.ClientSession() as session:
        reached = fault_access.read_fault_access(session, lab_environment(suite.state))
        windows = await asyncio.gather(*(inject(FAULT_CATALOGUE[name], 1.5, reached) for name in OF_ALL_KINDS))
    assert [window.evidence for window in windows if not window.took_effect] == []
    await poll_until(partial(_all_well, rider, database), WELL_WITHIN_S)


@pytest.mark.parametrize("server", ["database", "broker"])
async def test_a_server_is_killed_under_load(
    suite: Suite, rider: RiderClient, control: httpx.AsyncClient, server: str
) -> None:
    async with offer_rides(rider, PLANS, retry=True) as stream:
        await _asked(control, f"/servers/{server}/restart", {"shutdown": "kill", "down_s": 1.0})
        await poll_until(partial(_is_back, control, server), 60)
    async with opened(suite) as database:
        states = await database.verify_bookings(stream.ids, allow_expired=True)
        assert set(states.values()) <= {"confirmed", "failed", "expired"}
        await poll_until(partial(_all_well, rider, database), WELL_WITHIN_S)


async def _is_back(control: httpx.AsyncClient, name: str) -> bool:
    answer = await control.get("/servers")
    (server,) = [p for p in msgspec.json.decode(answer.content, type=list[ServerInfo]) if p.name == name]
    return server.state is ServerState.RUNNING and server.restarts == 1


AHEAD_S = 90.0
LATE_AT_ONCE = {"failed", "expired"}


@pytest.mark.parametrize(("skew_s", "ends"), [(AHEAD_S, LATE_AT_ONCE), (-AHEAD_S, {"confirmed"})])
async def test_a_wrong_clock_costs_rides_their_time_and_nothing_else(
    rider: RiderClient, database: DatabaseProbe, control: httpx.AsyncClient, skew_s: float, ends: set[str]
) -> None:
    """Pricing ahead finds every question too late; behind, it answers. Its signatures are taken for true either way."""
    await _skewed(control, skew_s)
    try:
        assert (
            set((await database.verify_bookings(await rider.prebook_all(PLANS), allow_expired=True)).values()) == ends
        )
    finally:
        await _skewed(control, 0.0)
    await poll_until(partial(_all_well, rider, database), WELL_WITHIN_S)


async def _all_well(rider: RiderClient, database: DatabaseProbe) -> bool:
    """Circuits that the fault opened have closed: every plan is taken, and confirmed."""
    answers = [await rider.post_booking(plan) for plan in PLANS]
    if any(answer.status_code not in ACCEPTED_STATUSES for answer in answers):
        return False
    return all_in_state(await database.verify_bookings([answer.json()["id"] for answer in answers]), "confirmed")


async def _skewed(control: httpx.AsyncClient, skew_s: float) -> None:
    await _asked(control, "/processes/pricing/skew", {"skew_s": skew_s})
    await poll_until(partial(_runs_with, control, skew_s, await _pricing(control)), 30)


async def _pricing(control: httpx.AsyncClient) -> ProcessInfo:
    told = msgspec.json.decode((await control.get("/processes")).content, type=list[ProcessInfo])
    return next(process for process in told if process.name == "pricing")


async def _runs_with(control: httpx.AsyncClient, skew_s: float, before: ProcessInfo) -> bool:
    now = await _pricing(control)
    return now.state is ProcessState.RUNNING and now.pid != before.pid and now.clock_skew_s == skew_s
