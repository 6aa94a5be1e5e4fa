"""A broker of three nodes loses the one that leads pricing's requests, under load: nothing is lost."""

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

QUEUED = [uniform_plan(Coupling.ONE_WAY), uniform_plan(Coupling.REQUEST_REPLY)]
NODES = {"broker", "broker-2", "broker-3"}
QUEUE = addresses.request_queue("pricing", "quote_fare")
LONGEST_GAP_S = 15.0
"""Of what riders see. An election takes below a second; on a busy machine, connecting anew takes longer than that."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    wanted = {"PREBOOK_STACK": "local", "PREBOOK_BROKER_NODES": "3"}
    with start_suite(wanted, tmp_path_factory.mktemp("cluster") / "home") as suite:
        yield suite


@asynccontextmanager
async def asking(suite: Suite) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """The control API, and the first node's management API."""
    where = suite.state
    bearer = {"Authorization": f"Bearer {where.control_token}"}
    login = (where.management_user, where.management_password)
    async with (
        httpx.AsyncClient(base_url=where.control_url, headers=bearer, trust_env=False) as control,
        httpx.AsyncClient(base_url=where.management_url, auth=login, trust_env=False) as management,
    ):
        yield control, management


async def _servers(control: httpx.AsyncClient) -> Mapping[str, ServerInfo]:
    answer = await control.get("/servers")
    return {server.name: server for server in msgspec.json.decode(answer.content, type=list[ServerInfo])}


class Quorum(msgspec.Struct):
    """Names of nodes."""

    leader: str
    members: list[str]
    online: list[str]


async def _queue(management: httpx.AsyncClient) -> Quorum:
    answer = await management.get(f"/api/queues/prebook/{QUEUE}")
    return msgspec.json.decode(answer.content, type=Quorum)


async def _leading(control: httpx.AsyncClient, management: httpx.AsyncClient) -> ServerInfo:
    """The server whose process is the node that leads the queue, once that node reports itself."""
    async with asyncio.timeout(30.0):
        while True:
            leader = (await _queue(management)).leader
            nodes = {node["name"]: node for node in (await management.get("/api/nodes")).json()}
            if pid := nodes.get(leader, {}).get("os_pid"):
                return next(server for server in (await _servers(control)).values() if server.pid == int(pid))
            await asyncio.sleep(0.2)


async def _is_complete(management: httpx.AsyncClient) -> bool:
    """Nobody tells while the first node is away, or not quite there yet."""
    try:
        return len((await _queue(management)).online) == len(NODES)
    except (httpx.TransportError, msgspec.MsgspecError):
        return False


async def _all_run(control: httpx.AsyncClient) -> bool:
    return {server.state for server in (await _servers(control)).values()} == {ServerState.RUNNING}


@pytest.mark.real
@pytest.mark.long
async def test_the_node_that_leads_the_queue_is_killed_under_load(suite: Suite, figure: Figure) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    database = DatabaseProbe(connection)
    async with (
        asking(suite) as (control, management),
        httpx.AsyncClient(base_url=suite.state.urls["booking"], timeout=30, trust_env=False) as http,
    ):
        rider = RiderClient(http)
        assert set(await _servers(control)) == {*NODES, "database"}
        assert len((await _queue(management)).members) == 3
        assert all_in_state(await database.verify_bookings(await rider.prebook_all(QUEUED)), "confirmed")
        async with offer_rides(rider, QUEUED) as stream:
            await _at_least(stream.ids, 5)
            led = await _leading(control, management)
            killed = await control.post(f"/servers/{led.name}/restart", json={"shutdown": "kill", "down_s": 3.0})
            assert killed.status_code == 200, killed.text
            assert (await _servers(control))[led.name].state is ServerState.DOWN
            await poll_until(partial(_all_run, control), 40)
            await poll_until(partial(_is_complete, management), 20)
            await _at_least(stream.ids, len(stream.ids) + 5)
        assert stream.refusals == [], "rides are accepted while the node is away"
        assert all_in_state(await database.verify_bookings(stream.ids, allow_expired=True), "confirmed"), "lost: 0"
        gap = await _longest_gap(connection, stream.ids)
        assert (await _servers(control))[led.name].restarts == 1
    await connection.close()
    figure(f"{led.name}, which led {QUEUE}, killed: {len(stream.ids)} rides, lost 0, longest gap {gap:.2f} s")
    assert gap < LONGEST_GAP_S


async def _at_least(ids: list[str], count: int) -> None:
    async def there() -> bool:
        await asyncio.sleep(0)
        return len(ids) >= count

    await poll_until(there, 20)


GAPS = """
    SELECT max(extract(epoch FROM at - before)) FROM (
        SELECT (change ->> 'at')::timestamptz AS at,
            lag((change ->> 'at')::timestamptz) OVER (ORDER BY (change ->> 'at')::timestamptz) AS before
        FROM booking.booking, jsonb_array_elements(history) AS change
        WHERE id = ANY($1) AND change ->> 'state' = 'confirmed') AS settled"""


async def _longest_gap(connection: "asyncpg.Connection[asyncpg.Record]", ids: list[str]) -> float:
    """Between one ride's confirmation and the next one's."""
    return float(await connection.fetchval(GAPS, ids))


async def test_several_nodes_are_refused_where_they_cannot_be_had() -> None:
    given = {"PREBOOK_AMQP_URL": "amqp://u:p@127.0.0.1:1/v"}
    with pytest.raises(UserError, match="3 nodes") as error:
        await choose_broker_provider(StackMode.EXTERNAL, given, 3)
    assert "--broker-nodes" in error.value.remedy
