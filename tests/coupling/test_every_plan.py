"""One use case, every way of coupling it: 4 flows in 4 couplings are 256 plans, and the ride ends the same in each."""

from itertools import product

import pytest

from prebook.contracts.booking import State
from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FLOWS
from tests.world import World

PLANS: list[Plan] = [dict(zip(FLOWS, couplings, strict=True)) for couplings in product(Coupling, repeat=len(FLOWS))]


def spelled(plan: Plan) -> str:
    return "-".join(plan.values())


@pytest.mark.parametrize("plan", PLANS, ids=spelled)
async def test_the_ride_ends_the_same(plan: Plan) -> None:
    async with World() as world:
        ride = await world.settled(await world.prebook(plan))

    assert ride.fare is not None
    assert ride.driver is not None
    assert (ride.state, ride.fare.cents) == (State.CONFIRMED, CONFIRMED_CENTS)
    assert [change.state for change in ride.history] == [
        State.REQUESTED,
        State.PRICED,
        State.MATCHED,
        State.CONFIRMED,
    ]


CONFIRMED_CENTS = 0
