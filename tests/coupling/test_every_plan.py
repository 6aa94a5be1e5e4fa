"""One use case, every way of coupling it: 4 flows in 4 couplings are 256 plans, and the ride ends the same in each.

One suite serves sixteen plans at a time, side by side, as it does in the campaign.
"""

import asyncio
from collections.abc import Iterable
from itertools import product

import pytest

from prebook.contracts.booking import BookingView
from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS
from tests.world import SuiteWorld

HISTORY = [BookingState.REQUESTED, BookingState.PRICED, BookingState.MATCHED, BookingState.CONFIRMED]
FARE_CENTS = 1981
"""350 + 165 x 10.008 km, and 20 % for a Monday noon in this zone, less 10 %: half up at each step."""


def plans(first: Iterable[Coupling]) -> list[Plan]:
    """The sixteen plans whose first two flows are coupled like this."""
    rest = product(Coupling, repeat=len(FLOWS) - 2)
    return [dict(zip(FLOWS, (*first, *others), strict=True)) for others in rest]


async def ridden(world: SuiteWorld, plan: Plan) -> BookingView:
    return await world.wait_until_settled(await world.book(plan), timeout_s=20.0)


@pytest.mark.parametrize("first", list(product(Coupling, repeat=2)), ids="-".join)
async def test_the_ride_ends_the_same(first: tuple[Coupling, Coupling]) -> None:
    async with SuiteWorld() as world:
        rides = await asyncio.gather(*(ridden(world, plan) for plan in plans(first)))

    assert len(rides) == len({tuple(ride.couplings.values()) for ride in rides}) == 16
    for ride in rides:
        assert ride.fare is not None, ride
        assert ride.driver is not None, ride
        assert (ride.fare.cents, [change.state for change in ride.history]) == (FARE_CENTS, HISTORY), ride
