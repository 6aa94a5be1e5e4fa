"""Two replicas of every service: both work, one of them dies in a burst, and every rider hears everything in order."""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import cycle, islice

import asyncpg
import httpx
import psutil
import pytest

from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.ride import BookingState
from prebook.flows import SERVICES
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.integration.control_client import open_control
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite, start_suite

pytestmark = pytest.mark.real
BOOKINGS = 60
QUEUED = (Coupling.ONE_WAY, Coupling.REQUEST_REPLY)
"""How both replicas are reached; a call goes to the first one."""
TOLD = "SELECT booking_id, notice FROM notification.delivery WHERE booking_id = ANY($1) ORDER BY delivered_at"
HANDLERS = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name LIKE 'prebook-% relay %'"
HELD = "SELECT (SELECT count(*) FROM notification.blocked) + (SELECT count(*) FROM booking.blocked)"


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    stack = {name: value for name, value in os.environ.items() if name == "PREBOOK_STACK"}
    with start_suite({**stack, "PREBOOK_REPLICAS": "2"}, tmp_path_factory.mktemp("replicas") / "home") as suite:
        yield suite


@pytest.fixture
async def rider(replicated: Suite) -> AsyncIterator[RiderClient]:
    async with httpx.AsyncClient(base_url=replicated.state.urls["booking"], timeout=30, trust_env=False) as http:
        yield RiderClient(http)


@pytest.fixture
async def database(replicated: Suite) -> AsyncIterator[DatabaseProbe]:
    connection = await asyncpg.connect(asyncpg_dsn(replicated.state.database_url))
    try:
        yield DatabaseProbe(connection)
    finally:
        await connection.close()


async def test_both_replicas_of_every_service_work_and_one_dies_in_a_burst(
    replicated: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    plans = list(islice(cycle(uniform_plan(coupling) for coupling in QUEUED), BOOKINGS))
    async with open_control(replicated) as control:
        assert set(await control.list_processes()) >= {*SERVICES, *(f"{service}-2" for service in SERVICES)}
        before = {name: info.pid for name, info in (await control.list_processes()).items()}
        burst = asyncio.create_task(_changed_their_minds(rider, plans))
        await poll_until(lambda: _told(database, BOOKINGS // 4), 30)
        for victim in ("notification", "booking-2", "matching-2"):
            await control.kill(victim)
        ids = await burst
        await control.wait_until_all_running()
        after = {name: info.pid for name, info in (await control.list_processes()).items()}
    assert {name for name in before if before[name] != after[name]} == {"notification", "booking-2", "matching-2"}
    states = await database.verify_bookings(ids)
    assert set(states.values()) == {"cancelled"}
    assert await _told_in_order(database, ids) == {booking: ["confirmed", "cancelled"] for booking in ids}
    assert await database.fetch_value(HELD) == 0

    async def all_relay() -> bool:
        return len(await database.connection.fetch(HANDLERS)) == 2 * len(SERVICES) + 1

    await poll_until(all_relay, 10)


async def test_the_partitions_are_shared_out_and_one_replica_takes_over_from_the_other(
    replicated: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    async with open_control(replicated) as control:

        async def both_handled() -> bool:
            """A booking more each time: its key falls into this partition or that."""
            await database.verify_bookings([await rider.prebook(uniform_plan(Coupling.ONE_WAY))])
            return all([await _handled(replicated, name) for name in ("notification", "notification-2")])

        await poll_until(both_handled, 60)
        await control.kill("notification-2", down_s=5.0)
        ids = await rider.prebook_all([uniform_plan(Coupling.ONE_WAY)] * 12)
        assert set((await database.wait_until_settled(ids)).values()) == {"confirmed"}
        await control.wait_until_all_running()


async def _changed_their_minds(rider: RiderClient, plans: Sequence[Plan]) -> list[str]:
    """Every ride is confirmed, and then cancelled as soon as that is known."""
    width = asyncio.Semaphore(8)

    async def ride(plan: Plan) -> str:
        async with width:
            return await _cancelled(rider, plan)

    return await asyncio.gather(*(ride(plan) for plan in plans))


async def _cancelled(rider: RiderClient, plan: Plan) -> str:
    booking_id = await rider.prebook(plan)

    async def confirmed() -> bool:
        return (await rider.fetch_view(booking_id)).state is BookingState.CONFIRMED

    await poll_until(confirmed, 30)
    assert (await rider.cancel(booking_id)).status_code == 200
    return booking_id


async def _told(database: DatabaseProbe, notices: int) -> bool:
    return bool(await database.fetch_value("SELECT count(*) FROM notification.delivery") >= notices)


async def _told_in_order(database: DatabaseProbe, ids: Sequence[str]) -> dict[str, list[str]]:
    told: dict[str, list[str]] = defaultdict(list)
    for row in await database.connection.fetch(TOLD, list(ids)):
        told[row["booking_id"]].append(row["notice"])
    return dict(told)


async def _handled(suite: Suite, name: str) -> float:
    """What this replica says of itself: requests to notify that it has handled."""
    async with open_control(suite) as control:
        listening = [c for c in psutil.Process(await control.read_pid(name)).net_connections() if c.status == "LISTEN"]
    port = listening[0].laddr.port
    async with httpx.AsyncClient(trust_env=False) as http:
        lines = (await http.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines()
    told = (line for line in lines if line.startswith("prebook_messages_handled_total") and "notify_rider" in line)
    return sum(float(line.rpartition(" ")[2]) for line in told)
