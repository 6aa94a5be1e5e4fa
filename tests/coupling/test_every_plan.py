"""All 256 plans (4 flows in 4 couplings) have the same result.

One suite serves sixteen plans at a time, as in a campaign.
"""

import asyncio
from collections.abc import Iterable
from itertools import product

import pytest

from prebook.contracts.booking import BookingView
from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS
from tests.leftovers import tasks_and_timers
from tests.world import SuiteWorld

HISTORY = [BookingState.REQUESTED, BookingState.PRICED, BookingState.MATCHED, BookingState.CONFIRMED]
DEADLINE_S = 60.0
"""Longer than the rides take on a busy machine: this test is about results, not about time."""
FARE_CENTS = 1981
"""350 + 165 x 10.008 km, plus 20 % for a Monday noon in this zone, minus 10 %; each step is rounded half up."""


def plans(first: Iterable[Coupling]) -> list[Plan]:
    """Return the sixteen plans whose first two flows have the couplings ``first``."""
    combinations = product(Coupling, repeat=len(FLOWS) - 2)
    return [dict(zip(FLOWS, (*first, *remaining), strict=True)) for remaining in combinations]


async def complete_ride(world: SuiteWorld, plan: Plan) -> BookingView:
    return await world.wait_until_settled(await world.book(plan), timeout_s=DEADLINE_S)


@pytest.mark.parametrize("first", list(product(Coupling, repeat=2)), ids="-".join)
async def test_every_plan_has_the_same_result(first: tuple[Coupling, Coupling]) -> None:
    async with SuiteWorld(deadline_s=DEADLINE_S) as world:
        rides = await asyncio.gather(*(complete_ride(world, plan) for plan in plans(first)))

    assert len(rides) == len({tuple(ride.couplings.values()) for ride in rides}) == 16
    for ride in rides:
        assert ride.fare is not None, ride
        assert ride.driver is not None, ride
        assert (ride.fare.cents, [change.state for change in ride.history]) == (FARE_CENTS, HISTORY), ride


async def test_a_world_leaves_no_task_and_no_timer() -> None:
    """Rides of every coupling are under way when the block ends."""
    before = tasks_and_timers()
    async with SuiteWorld() as world:
        await asyncio.gather(*(world.book(plan) for plan in plans((Coupling.SYNC_API, Coupling.ONE_WAY))))
    assert tasks_and_timers() == before
