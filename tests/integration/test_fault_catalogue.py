"""One fault of each kind, while rides arrive: it takes effect, it is undone, and nothing is lost or doubled."""

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
PATIENT = [uniform_plan(coupling) for coupling in Coupling if coupling is not Coupling.SYNC_API]
SHORTLY: Mapping[str, float] = {
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
}
"""Name -> seconds. Every kind that needs neither links nor a cluster; poison is below, links are in test_levers.py."""


@pytest.fixture
async def reached(suite: Suite) -> AsyncIterator[FaultAccess]:
    async with aiohttp.ClientSession() as session:
        yield fault_access.read_fault_access(session, lab_environment(suite.state))


@pytest.mark.parametrize("name", SHORTLY)
async def test_it_takes_effect_and_every_ride_is_settled(
    name: str, suite: Suite, rider: RiderClient, reached: FaultAccess
) -> None:
    why_not = {each.fault.name: each.unavailable_reason for each in await survey_faults(reached)}[name]
    if why_not:
        pytest.skip(why_not)
    async with offer_rides(rider, PATIENT, retry=True) as during:
        window = await inject(FAULT_CATALOGUE[name], SHORTLY[name], reached)
    assert window.took_effect, window.evidence
    await poll_until(lambda: _ready(suite, reached), 30)
    weeks = timedelta(weeks=1 + list(SHORTLY).index(name))
    after = [await _accepted(rider, plan, datetime.fromisoformat(ride()["pickup_at"]) + weeks) for plan in PLANS]
    # Connected only now: a database that was ended takes everybody's connections along.
    connection = await asyncpg.connect(asyncpg_dsn(suite.state.database_url))
    try:
        states = await DatabaseProbe(connection).verify_bookings([*during.ids, *after], allow_expired=True)
    finally:
        await connection.close()
    assert {states[booking_id] for booking_id in after} == {"confirmed"}


async def _ready(suite: Suite, reached: FaultAccess) -> bool:
    """Every process says so: who was killed is not ready the moment that it runs."""
    for url in suite.state.urls.values():
        try:
            async with reached.session.get(f"{url}/readyz") as answer:
                if not answer.ok:
                    return False
        except aiohttp.ClientError:
            return False
    return True


async def _accepted(rider: RiderClient, plan: Plan, pickup_at: datetime) -> str:
    """The id, as soon as a ride is taken again; in a week of its own there are drivers for it."""
    found: list[str] = []
    key = uuid4().hex

    async def taken() -> bool:
        response = await rider.post_booking(plan, key=key, pickup_at=pickup_at.isoformat())
        found.extend([response.json()["id"]] if response.status_code in ACCEPTED_STATUSES else [])
        return bool(found)

    await poll_until(taken, 20)
    return found[0]


async def test_poison_is_tried_as_often_as_configured_and_leaves_nothing_behind(
    suite: Suite, reached: FaultAccess
) -> None:
    before = await _parked(suite, reached)
    window = await inject(FAULT_CATALOGUE["poison"], 0.1, reached)
    assert window.took_effect, window.evidence
    assert "bad_json after 1 attempts" in window.evidence
    assert f"attempts_exhausted after {ATTEMPTS} attempts" in window.evidence
    assert await _parked(suite, reached) == before


async def _parked(suite: Suite, reached: FaultAccess) -> object:
    async with reached.session.get(f"{suite.state.urls['operations']}/v1/dead-letters") as answer:
        return await answer.json()


def test_by_hand_a_fault_is_injected_and_proven(suite: Suite) -> None:
    done = suite.prebook("fault", "inject", "kill_notification", "--for", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    assert '"took_effect":true' in done.stdout
