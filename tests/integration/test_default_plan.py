"""The default plan is switched while rides run: new rides use it, others keep theirs, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from prebook.contracts.default_plan import DefaultPlan
from prebook.contracts.plan import Coupling, Plan
from prebook.messaging.policy import default_plan
from tests.conditions import poll_until
from tests.integration.control_client import ControlClient
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient
from tests.integration.suite import POLICIES, Suite

pytestmark = pytest.mark.real
RIDE_INTERVAL_S = 0.1
RIDES = 8
"""Rides before a switch, and after it."""
CONFIGURED = default_plan(POLICIES)
SWITCHED: Plan = {**CONFIGURED, "quote_fare": Coupling.ONE_WAY, "find_driver": Coupling.SYNC_API}
MAX_DELAY = timedelta(seconds=1)
"""Time after a switch from which every new ride uses it."""


@pytest.fixture(autouse=True)
async def configured_plan(suite: Suite) -> AsyncIterator[None]:
    """Leave the shared suite with the plan that it is configured with."""
    yield
    await run_plan(suite, "set", "configured")


async def run_plan(suite: Suite, *arguments: str) -> DefaultPlan:
    """Run `prebook plan` and return the plan that it prints."""
    command = await asyncio.to_thread(suite.prebook, "plan", *arguments, "--json")
    assert command.returncode == 0, command.stderr
    return msgspec.json.decode(command.stdout, type=DefaultPlan)


class RideStream:
    """Rides that choose no couplings, offered at equal distances whatever becomes of earlier ones."""

    def __init__(self, rider: RiderClient) -> None:
        self._rider = rider
        self._stopped = asyncio.Event()
        self.ids: list[str] = []

    async def run(self) -> None:
        """Offer rides until ``stop``. Raises AssertionError if one of them is not accepted."""
        async with asyncio.TaskGroup() as tasks:
            while not self._stopped.is_set():
                tasks.create_task(self._book())
                await asyncio.sleep(RIDE_INTERVAL_S)

    async def wait_for_more(self) -> None:
        """Wait until RIDES more rides are accepted."""
        wanted = len(self.ids) + RIDES
        await poll_until(lambda: asyncio.sleep(0, len(self.ids) >= wanted), 60)

    def stop(self) -> None:
        self._stopped.set()

    async def _book(self) -> None:
        self.ids.append(await self._rider.prebook())


async def test_rides_before_during_and_after_a_switch_all_end_with_their_own_plan(
    suite: Suite, rider: RiderClient, database: DatabaseProbe
) -> None:
    stream = RideStream(rider)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stream.run())
        await stream.wait_for_more()
        switched = await run_plan(suite, "set", "quote_fare=one_way", "find_driver=sync_api")
        await asyncio.sleep(MAX_DELAY.total_seconds())
        await stream.wait_for_more()
        stream.stop()

    assert {flow: each.coupling for flow, each in switched.flows.items()} == SWITCHED
    switched_at = switched.flows["quote_fare"].changed_at
    assert switched_at is not None
    assert all_in_state(await database.verify_bookings(stream.ids), "confirmed")
    views = [await rider.fetch_view(booking_id) for booking_id in stream.ids]
    before = [view.couplings for view in views if view.history[0].at < switched_at]
    after = [view.couplings for view in views if view.history[0].at > switched_at + MAX_DELAY]
    assert (len(before) >= RIDES, len(after) >= RIDES) == (True, True)
    assert [plan for plan in before if plan != CONFIGURED] == []
    assert [plan for plan in after if plan != SWITCHED] == []
    assert [view for view in views if view.couplings not in (CONFIGURED, SWITCHED)] == []


async def test_a_restart_keeps_what_operators_chose(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, control: ControlClient
) -> None:
    await run_plan(suite, "set", "quote_fare=sync_api")
    await control.kill("booking")
    await control.wait_until_all_running()
    booking_id = await rider.prebook()
    assert (await rider.fetch_view(booking_id)).couplings["quote_fare"] is Coupling.SYNC_API
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")


def test_the_plan_is_shown_as_a_table(suite: Suite) -> None:
    shown = suite.prebook("plan", "show")
    assert shown.returncode == 0, shown.stderr
    for flow, coupling in CONFIGURED.items():
        assert flow in shown.stdout
        assert coupling in shown.stdout


@pytest.mark.parametrize("assignment", ["carrier_pigeon", "quote_fare=carrier_pigeon", "no_flow=one_way"])
def test_an_unknown_flow_or_coupling_is_wrong_usage(suite: Suite, assignment: str) -> None:
    command = suite.prebook("plan", "set", assignment)
    assert command.returncode == 2
    assert "one_way" in command.stderr or "quote_fare" in command.stderr
