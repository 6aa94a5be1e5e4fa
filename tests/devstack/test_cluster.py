"""A cluster of three brokers loses the leader of pricing's request queue under load, and no ride is lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.devstack.errors import UserError
from prebook.devstack.providers import StackMode, choose_broker_provider
from prebook.devstack.supervisor.contract import ServerInfo, ServerState
from prebook.messaging import addresses
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.conftest import Figure
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.ride_offers import offer_rides
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite, start_suite

PLANS = [uniform_plan(Coupling.ONE_WAY), uniform_plan(Coupling.REQUEST_REPLY)]
NODES = {"broker", "broker-2", "broker-3"}
QUEUE = addresses.request_queue("pricing", "quote_fare")
MAX_GAP_S = 15.0
"""Longest time between two confirmations. An election takes less than a second; reconnecting on a busy machine more."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    settings = {"PREBOOK_STACK": "local", "PREBOOK_BROKER_NODES": "3"}
    with start_suite(settings, tmp_path_factory.mktemp("cluster") / "home") as suite:
        yield suite


@asynccontextmanager
async def open_clients(suite: Suite) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Open clients of the control API and of the first node's management API."""
    where = suite.state
    bearer = {"Authorization": f"Bearer {where.control_token}"}
    login = (where.management_user, where.management_password)
    async with (
        httpx.AsyncClient(base_url=where.control_url, headers=bearer, trust_env=False) as control,
        httpx.AsyncClient(base_url=where.management_url, auth=login, trust_env=False) as management,
    ):
        yield control, management


async def _list_servers(control: httpx.AsyncClient) -> Mapping[str, ServerInfo]:
    response = await control.get("/servers")
    return {server.name: server for server in msgspec.json.decode(response.content, type=list[ServerInfo])}


class Quorum(msgspec.Struct):
    """Leader, members and online members of a quorum queue, by node name."""

    leader: str
    members: list[str]
    online: list[str]


async def _read_quorum(management: httpx.AsyncClient) -> Quorum:
    response = await management.get(f"/api/queues/prebook/{QUEUE}")
    return msgspec.json.decode(response.content, type=Quorum)


async def _find_leader(control: httpx.AsyncClient, management: httpx.AsyncClient) -> ServerInfo:
    """Return the server of the node that leads the queue, as soon as the node reports its process id."""
    async with asyncio.timeout(30.0):
        while True:
            leader = (await _read_quorum(management)).leader
            nodes = {node["name"]: node for node in (await management.get("/api/nodes")).json()}
            if pid := nodes.get(leader, {}).get("os_pid"):
                return next(server for server in (await _list_servers(control)).values() if server.pid == int(pid))
            await asyncio.sleep(0.2)


async def _is_quorum_complete(management: httpx.AsyncClient) -> bool:
    """Return whether all nodes are online; False while the first node is down or starting and cannot report it."""
    try:
        return len((await _read_quorum(management)).online) == len(NODES)
    except (httpx.TransportError, msgspec.MsgspecError):
        return False


async def _all_running(control: httpx.AsyncClient) -> bool:
    return {server.state for server in (await _list_servers(control)).values()} == {ServerState.RUNNING}


@pytest.mark.real
@pytest.mark.long
async def test_a_killed_leader_loses_no_ride_and_delays_rides_only_briefly(suite: Suite, figure: Figure) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    database = DatabaseProbe(connection)
    async with (
        open_clients(suite) as (control, management),
        httpx.AsyncClient(base_url=suite.state.urls["booking"], timeout=30, trust_env=False) as http,
    ):
        rider = RiderClient(http)
        assert set(await _list_servers(control)) == {*NODES, "database"}
        assert len((await _read_quorum(management)).members) == 3
        assert all_in_state(await database.verify_bookings(await rider.prebook_all(PLANS)), "confirmed")
        async with offer_rides(rider, PLANS) as offers:
            await _wait_for_rides(offers.ids, 5)
            leader = await _find_leader(control, management)
            killed = await control.post(f"/servers/{leader.name}/restart", json={"shutdown": "kill", "down_s": 3.0})
            assert killed.status_code == 200, killed.text
            assert (await _list_servers(control))[leader.name].state is ServerState.DOWN
            await poll_until(partial(_all_running, control), 40)
            await poll_until(partial(_is_quorum_complete, management), 20)
            await _wait_for_rides(offers.ids, len(offers.ids) + 5)
        assert offers.refusals == [], "rides are accepted while the node is down"
        assert all_in_state(await database.verify_bookings(offers.ids, allow_expired=True), "confirmed"), (
            "no ride is lost"
        )
        gap_s = await _read_longest_gap_s(connection, offers.ids)
        assert (await _list_servers(control))[leader.name].restarts == 1
    await connection.close()
    figure(f"{leader.name}, leader of {QUEUE}, killed: {len(offers.ids)} rides, lost 0, longest gap {gap_s:.2f} s")
    assert gap_s < MAX_GAP_S


async def _wait_for_rides(ids: list[str], count: int) -> None:
    async def accepted() -> bool:
        await asyncio.sleep(0)
        return len(ids) >= count

    await poll_until(accepted, 20)


GAPS = """
    SELECT max(extract(epoch FROM at - before)) FROM (
        SELECT (change ->> 'at')::timestamptz AS at,
            lag((change ->> 'at')::timestamptz) OVER (ORDER BY (change ->> 'at')::timestamptz) AS before
        FROM booking.booking, jsonb_array_elements(history) AS change
        WHERE id = ANY($1) AND change ->> 'state' = 'confirmed') AS settled"""


async def _read_longest_gap_s(connection: "asyncpg.Connection[asyncpg.Record]", ids: list[str]) -> float:
    """Return the longest time between two consecutive confirmations."""
    return float(await connection.fetchval(GAPS, ids))


async def test_several_nodes_are_refused_with_an_external_broker() -> None:
    settings = {"PREBOOK_AMQP_URL": "amqp://u:p@127.0.0.1:1/v"}
    with pytest.raises(UserError, match="3 nodes") as error:
        await choose_broker_provider(StackMode.EXTERNAL, settings, 3)
    assert "--broker-nodes" in error.value.remedy
