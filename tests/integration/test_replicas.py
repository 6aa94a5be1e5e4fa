"""Two replicas of every service share the work, and a killed replica loses and misorders no notice."""

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
from prebook.flows import FIND_DRIVER, SERVICES
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.integration.control_client import open_control
from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite, start_suite

pytestmark = [pytest.mark.real, pytest.mark.long]
BOOKINGS = 60
HELD_CALLS = 20
HELD_AT_A_TIME = 4
"""Calls for a driver at a time: few enough for booking to admit them on a slow machine."""
MESSAGING_COUPLINGS = (Coupling.ONE_WAY, Coupling.REQUEST_REPLY)
"""Couplings whose messages reach both replicas; a synchronous call reaches only the first."""
NOTICES = "SELECT booking_id, notice FROM notification.delivery WHERE booking_id = ANY($1) ORDER BY delivered_at"
RELAY_SESSIONS = (
    "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name LIKE 'prebook-% relay %'"
)
BLOCKED = "SELECT (SELECT count(*) FROM notification.blocked) + (SELECT count(*) FROM booking.blocked)"


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


async def test_killed_replicas_lose_and_misorder_no_notice(
    replicated: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    plans = list(islice(cycle(uniform_plan(coupling) for coupling in MESSAGING_COUPLINGS), BOOKINGS))
    async with open_control(replicated) as control:
        assert set(await control.list_processes()) >= {*SERVICES, *(f"{service}-2" for service in SERVICES)}
        before = {name: info.pid for name, info in (await control.list_processes()).items()}
        booking = asyncio.create_task(_book_and_cancel_all(rider, plans))
        await poll_until(lambda: _has_notices(database, BOOKINGS // 4), 30)
        for victim in ("notification", "booking-2", "matching-2"):
            await control.kill(victim)
        ids = await booking
        await control.wait_until_all_running()
        after = {name: info.pid for name, info in (await control.list_processes()).items()}
    assert {name for name in before if before[name] != after[name]} == {"notification", "booking-2", "matching-2"}
    states = await database.verify_bookings(ids)
    assert set(states.values()) == {"cancelled"}
    assert await _read_notices(database, ids) == {booking: ["confirmed", "cancelled"] for booking in ids}
    assert await database.fetch_value(BLOCKED) == 0

    async def all_relaying() -> bool:
        return len(await database.connection.fetch(RELAY_SESSIONS)) == 2 * len(SERVICES) + 1

    await poll_until(all_relaying, 10)


async def test_replicas_share_the_partitions_and_take_over_from_each_other(
    replicated: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    async with open_control(replicated) as control:

        async def both_handled() -> bool:
            """Book another ride, whose key is in one of the partitions, and return whether both replicas have work."""
            await database.verify_bookings([await rider.prebook(uniform_plan(Coupling.ONE_WAY))])
            return all([await _read_handled(replicated, name) for name in ("notification", "notification-2")])

        await poll_until(both_handled, 60)
        await control.kill("notification-2", down_s=5.0)
        ids = await rider.prebook_all([uniform_plan(Coupling.ONE_WAY)] * 12)
        assert set((await database.wait_until_settled(ids)).values()) == {"confirmed"}
        await control.wait_until_all_running()


async def test_a_held_call_gets_the_reply_that_the_other_replica_has_stored(
    rider: RiderClient, database: DatabaseProbe
) -> None:
    """The offers of the fleets reach either replica of matching, and the call for a driver waits at one of them."""
    plan = {**uniform_plan(Coupling.REQUEST_REPLY), FIND_DRIVER.name: Coupling.SYNC_API}
    states = dict[str, str]()
    for _ in range(HELD_CALLS // HELD_AT_A_TIME):
        states |= await database.verify_bookings(await rider.prebook_all([plan] * HELD_AT_A_TIME))
    assert (len(states), set(states.values())) == (HELD_CALLS, {"confirmed"}), states


async def _book_and_cancel_all(rider: RiderClient, plans: Sequence[Plan]) -> list[str]:
    """Book one ride per plan, cancel each as soon as it is confirmed, and return their ids."""
    limit = asyncio.Semaphore(8)

    async def ride(plan: Plan) -> str:
        async with limit:
            return await _book_and_cancel(rider, plan)

    return await asyncio.gather(*(ride(plan) for plan in plans))


async def _book_and_cancel(rider: RiderClient, plan: Plan) -> str:
    booking_id = await rider.prebook(plan)

    async def confirmed() -> bool:
        return (await rider.fetch_view(booking_id)).state is BookingState.CONFIRMED

    await poll_until(confirmed, 30)
    assert (await rider.cancel(booking_id)).status_code == 200
    return booking_id


async def _has_notices(database: DatabaseProbe, count: int) -> bool:
    return bool(await database.fetch_value("SELECT count(*) FROM notification.delivery") >= count)


async def _read_notices(database: DatabaseProbe, ids: Sequence[str]) -> dict[str, list[str]]:
    notices: dict[str, list[str]] = defaultdict(list)
    for row in await database.connection.fetch(NOTICES, list(ids)):
        notices[row["booking_id"]].append(row["notice"])
    return dict(notices)


async def _read_handled(suite: Suite, name: str) -> float:
    """Return the number of `notify_rider` requests that a replica has handled, from its metrics."""
    async with open_control(suite) as control:
        listening = [c for c in psutil.Process(await control.read_pid(name)).net_connections() if c.status == "LISTEN"]
    async with httpx.AsyncClient(trust_env=False) as http:
        pages = [await http.get(f"http://127.0.0.1:{socket.laddr.port}/metrics") for socket in listening]
    (lines,) = (page.text.splitlines() for page in pages if page.is_success)  # at the internal listener only
    samples = (line for line in lines if line.startswith("prebook_messages_handled_total") and "notify_rider" in line)
    return sum(float(line.rpartition(" ")[2]) for line in samples)
