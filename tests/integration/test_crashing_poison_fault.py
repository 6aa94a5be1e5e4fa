"""The fault of a crashing poison: its message alone is parked, while rides are booked and their riders notified."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import psutil
import pytest

from prebook.contracts.plan import Coupling
from prebook.devstack.service_environment import lab_environment
from prebook.lab.faults import FAULT_CATALOGUE, FaultAccess, fault_access, inject, survey_faults
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite, start_suite

pytestmark = [pytest.mark.real, pytest.mark.long, pytest.mark.timeout(900)]
FAULT = FAULT_CATALOGUE["crashing_poison"]
PLANS = [uniform_plan(coupling) for coupling in Coupling]
CRASHES = DELIVERY_LIMIT + 1
BOOKING_INTERVAL_S = 5.0
VARIABLE = "PREBOOK_CRASH_MESSAGE_ID"


@pytest.fixture(scope="module", params=[1, 2], ids=["one replica", "two replicas"])
def suite(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    settings = {"PREBOOK_BACK_PRESSURE": "off", "PREBOOK_REPLICAS": str(request.param)}
    with start_suite(settings, tmp_path_factory.mktemp("crashing") / "home") as suite:
        yield suite


@pytest.fixture
async def access(suite: Suite) -> AsyncIterator[FaultAccess]:
    async with aiohttp.ClientSession() as session:
        yield fault_access.read_fault_access(session, lab_environment(suite.state))


async def test_a_crashing_poison_is_parked_alone_while_rides_are_confirmed(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient, access: FaultAccess
) -> None:
    assert {each.fault: each.unavailable_reason for each in await survey_faults(access)}[FAULT] == ""
    before = await read_pids(control)
    injecting = asyncio.create_task(inject(FAULT, 0.1, access))
    booked: list[str] = []
    while not injecting.done():
        booked += await rider.prebook_all(PLANS)
        await asyncio.wait({injecting}, timeout=BOOKING_INTERVAL_S)
    window = injecting.result()

    assert window.took_effect, window.evidence
    assert f"delivery_limit after {CRASHES} attempts" in window.evidence
    await control.wait_until_all_running(60.0)
    after = await read_pids(control)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    assert [pid for pid in after.values() if VARIABLE in psutil.Process(pid).environ()] == []
    restarts = sum(info.restarts for name, info in (await control.list_processes()).items() if name in after)
    assert restarts >= CRASHES + 2 * len(after), "each crash, the restart that armed a process, and that which disarmed"
    # On a slow machine a notice may wait longer than the deadline of the tests; booking then requests it anew.
    states = await database.verify_bookings(booked, allow_expired=True)
    assert all_in_state(states, "confirmed"), "each is confirmed, and its rider is notified once"
    assert "poison" not in await read_delivered(database)


async def read_pids(control: ControlClient) -> dict[str, int]:
    """Return name and pid of each replica of notification."""
    processes = (await control.list_processes()).values()
    return {info.name: info.pid for info in processes if info.name.partition("-")[0] == FAULT.target and info.pid}


async def read_delivered(database: DatabaseProbe) -> str:
    """Return the ids of all bookings whose riders were notified."""
    return str(await database.fetch_value("SELECT string_agg(booking_id, ' ') FROM notification.delivery"))
