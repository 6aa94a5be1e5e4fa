"""Switches: operators change the default plan while booking runs."""

from datetime import timedelta

import pytest

from prebook.booking.store import BookingWork
from prebook.booking.use_cases.switches import Switches
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from prebook.messaging.clock import utc_now
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitsOfWork

CONFIGURED = {**dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY), "notify_rider": Coupling.ONE_WAY}


def replica(begin: BeginUnitOfWork[BookingWork]) -> Switches:
    """Return the switches of another process on the same store."""
    return Switches(UnitsOfWork.of_one(begin), CONFIGURED)


async def test_the_configured_plan_holds_until_an_operator_changes_it(begin: BeginUnitOfWork[BookingWork]) -> None:
    switches = replica(begin)
    assert await switches.default_plan() == CONFIGURED
    described = await switches.describe_default_plan()
    assert {flow: each.coupling for flow, each in described.flows.items()} == CONFIGURED
    assert {each.changed_at for each in described.flows.values()} == {None}


async def test_a_change_holds_at_once_here_and_after_a_refresh_in_other_replicas(
    begin: BeginUnitOfWork[BookingWork],
) -> None:
    here, there = replica(begin), replica(begin)
    assert await there.default_plan() == CONFIGURED
    await here.change_default_plan({"quote_fare": Coupling.ONE_WAY, "find_driver": Coupling.SYNC_API})
    changed = {**CONFIGURED, "quote_fare": Coupling.ONE_WAY, "find_driver": Coupling.SYNC_API}
    assert await here.default_plan() == changed
    assert await there.default_plan() == CONFIGURED
    await there.refresh()
    assert await there.default_plan() == changed


async def test_a_new_process_begins_with_what_operators_chose(begin: BeginUnitOfWork[BookingWork]) -> None:
    await replica(begin).change_default_plan({"quote_fare": Coupling.ONE_WAY})
    assert await replica(begin).default_plan() == {**CONFIGURED, "quote_fare": Coupling.ONE_WAY}


async def test_a_flow_returns_to_its_configured_coupling(begin: BeginUnitOfWork[BookingWork]) -> None:
    switches = replica(begin)
    await switches.change_default_plan({"quote_fare": Coupling.ONE_WAY, "find_driver": Coupling.ONE_WAY})
    await switches.change_default_plan({"quote_fare": None})
    assert await switches.default_plan() == {**CONFIGURED, "find_driver": Coupling.ONE_WAY}
    described = (await switches.describe_default_plan()).flows
    assert (described["quote_fare"].changed_at, described["quote_fare"].coupling) == (None, Coupling.REQUEST_REPLY)
    assert described["find_driver"].configured is Coupling.REQUEST_REPLY
    changed_at = described["find_driver"].changed_at
    assert changed_at is not None
    assert abs(changed_at - utc_now()) < timedelta(minutes=5)


async def test_a_coupling_that_this_version_does_not_know_leaves_the_configured_one(
    begin: BeginUnitOfWork[BookingWork],
) -> None:
    async with begin() as work:
        await work.set_switches({"coupling.quote_fare": "carrier_pigeon"})
    described = await replica(begin).describe_default_plan()
    assert described.flows["quote_fare"].coupling is Coupling.REQUEST_REPLY
    assert described.flows["quote_fare"].changed_at is None


@pytest.mark.real
async def test_the_same_value_again_keeps_the_time_of_the_change(begin_sql: BeginUnitOfWork[BookingWork]) -> None:
    switches = replica(begin_sql)
    await switches.change_default_plan({"quote_fare": Coupling.ONE_WAY})
    first = (await switches.describe_default_plan()).flows["quote_fare"]
    await switches.change_default_plan({"quote_fare": Coupling.ONE_WAY})
    assert (await switches.describe_default_plan()).flows["quote_fare"] == first


async def test_back_pressure_is_switched_and_returns_to_what_is_configured(
    begin: BeginUnitOfWork[BookingWork],
) -> None:
    here = Switches(UnitsOfWork.of_one(begin), CONFIGURED, back_pressure=True)
    there = Switches(UnitsOfWork.of_one(begin), CONFIGURED, back_pressure=True)
    assert (here.back_pressure, (await here.describe_back_pressure()).changed_at) == (True, None)
    await here.switch_back_pressure(enabled=False)
    await there.refresh()
    assert (here.back_pressure, there.back_pressure) == (False, False)
    described = await there.describe_back_pressure()
    assert (described.enabled, described.configured, described.changed_at is None) == (False, True, False)
    assert await there.default_plan() == CONFIGURED
    await there.switch_back_pressure(enabled=None)
    assert there.back_pressure


async def test_back_pressure_that_is_off_is_switched_on(begin: BeginUnitOfWork[BookingWork]) -> None:
    switches = Switches(UnitsOfWork.of_one(begin), CONFIGURED, back_pressure=False)
    await switches.refresh()
    assert not switches.back_pressure
    await switches.switch_back_pressure(enabled=True)
    assert switches.back_pressure
