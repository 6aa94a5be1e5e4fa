"""One fault of each kind under load takes effect and is undone, and no booking is lost or duplicated."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from prebook.contracts.plan import Coupling, Plan
from prebook.devstack.service_environment import lab_environment
from prebook.lab.faults import FAULT_CATALOGUE, FaultAccess, fault_access, inject, survey_faults
from prebook.postgres.dsn import asyncpg_dsn
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe
from tests.integration.ride_offers import offer_rides
from tests.integration.rider_client import ACCEPTED_STATUSES, RiderClient, uniform_plan
from tests.integration.suite import POLICIES, Suite
from tests.world import ride

pytestmark = pytest.mark.real
ATTEMPTS = POLICIES["notify_rider"].max_attempts
PLANS = [uniform_plan(coupling) for coupling in Coupling]
ASYNCHRONOUS_PLANS = [uniform_plan(coupling) for coupling in Coupling if coupling is not Coupling.SYNC_API]
DURATIONS_S: Mapping[str, float] = {
    "kill_matching": 0.2,
    "pause_pricing": 1.0,
    "brownout_booking": 1.0,
    "clock_skew_booking": 0.2,
    "connections_cut": 0.5,
    "queue_full": 1.0,
    "memory_alarm": 1.0,
    "duplicate_everything": 1.0,
    "broker_kill": 0.1,
    "database_restart": 0.1,
    "database_kill": 0.1,
    "database_read_only": 2.0,
    "database_locked": 2.0,
}
"""Duration of each fault in seconds. Poison has its own test below; faults of links are in tests/devstack."""


@pytest.fixture
async def access(suite: Suite) -> AsyncIterator[FaultAccess]:
    async with aiohttp.ClientSession() as session:
        yield fault_access.read_fault_access(session, lab_environment(suite.state))


@pytest.mark.parametrize("name", DURATIONS_S)
async def test_a_fault_takes_effect_and_every_ride_is_settled(
    name: str, suite: Suite, rider: RiderClient, access: FaultAccess
) -> None:
    unavailable_reason = {each.fault.name: each.unavailable_reason for each in await survey_faults(access)}[name]
    if unavailable_reason:
        pytest.skip(unavailable_reason)
    async with offer_rides(rider, ASYNCHRONOUS_PLANS, retry=True) as offers:
        window = await inject(FAULT_CATALOGUE[name], DURATIONS_S[name], access)
    assert window.took_effect, window.evidence
    await poll_until(lambda: _all_ready(suite, access), 30)
    weeks = timedelta(weeks=1 + list(DURATIONS_S).index(name))
    after = [await _book_ride(rider, plan, datetime.fromisoformat(ride()["pickup_at"]) + weeks) for plan in PLANS]
    # The connection is opened only now, because a restart of the database closes all connections.
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    try:
        states = await DatabaseProbe(connection).verify_bookings([*offers.ids, *after], allow_expired=True)
    finally:
        await connection.close()
    assert {states[booking_id] for booking_id in after} == {"confirmed"}


async def _all_ready(suite: Suite, access: FaultAccess) -> bool:
    """Return whether every process reports that it is ready, which a restarted process does only after a while."""
    for url in suite.state.urls.values():
        try:
            async with access.session.get(f"{url}/readyz") as response:
                if not response.ok:
                    return False
        except aiohttp.ClientError:
            return False
    return True


async def _book_ride(rider: RiderClient, plan: Plan, pickup_at: datetime) -> str:
    """Book a ride as soon as rides are accepted again, and return its id.

    ``pickup_at`` is in a week in which no other test books drivers.
    """
    ids: list[str] = []
    key = uuid4().hex

    async def is_accepted() -> bool:
        response = await rider.post_booking(plan, key=key, pickup_at=pickup_at.isoformat())
        ids.extend([response.json()["id"]] if response.status_code in ACCEPTED_STATUSES else [])
        return bool(ids)

    await poll_until(is_accepted, 20)
    return ids[0]


async def test_poison_has_the_configured_attempts_and_leaves_no_dead_letter(suite: Suite, access: FaultAccess) -> None:
    before = await _list_dead_letters(suite, access)
    window = await inject(FAULT_CATALOGUE["poison"], 0.1, access)
    assert window.took_effect, window.evidence
    assert "bad_json after 1 attempts" in window.evidence
    assert f"attempts_exhausted after {ATTEMPTS} attempts" in window.evidence
    assert await _list_dead_letters(suite, access) == before


async def _list_dead_letters(suite: Suite, access: FaultAccess) -> object:
    url = f"{suite.state.urls['operations']}/v1/dead-letters"
    async with access.session.get(url, headers=access.addresses.operator_headers) as response:
        assert response.status == 200
        return await response.json()


def test_the_inject_command_proves_the_effect_of_a_fault(suite: Suite) -> None:
    done = suite.prebook("fault", "inject", "kill_notification", "--for", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    assert '"took_effect":true' in done.stdout
