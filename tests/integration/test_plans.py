"""A ride ends the same however its flows are coupled, with real parts and real processes."""

from collections.abc import Mapping

import pytest

from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FLOWS
from tests.coupling.test_every_plan import FARE_CENTS, HISTORY
from tests.integration.books import Books, every
from tests.integration.covering import covering
from tests.integration.riders import Riders

pytestmark = pytest.mark.real
PLANS: list[Plan] = [
    dict(zip(FLOWS, map(Coupling, row), strict=True)) for row in covering(len(FLOWS), [c.value for c in Coupling])
]


def shape(plan: Mapping[str, Coupling]) -> str:
    return "-".join(plan[flow] for flow in FLOWS)


async def test_every_two_couplings_meet_and_the_ride_ends_the_same(riders: Riders, books: Books) -> None:
    ids = await riders.several(PLANS)
    assert every(await books.add_up(ids), "confirmed")
    views = [await riders.view(booking_id) for booking_id in ids]
    assert [shape(view.couplings) for view in views] == [shape(plan) for plan in PLANS]
    for view in views:
        assert view.fare is not None, view
        assert view.fare.cents == FARE_CENTS, view
        assert [change.state for change in view.history] == HISTORY, view
        assert [change.at for change in view.history] == sorted(change.at for change in view.history)
        assert view.driver is not None, view
    assert len({view.driver for view in views}) == len(views), "no driver is given twice"


@pytest.mark.parametrize("coupling", Coupling)
async def test_a_coupling_throughout(riders: Riders, books: Books, coupling: Coupling) -> None:
    ids = await riders.several([dict.fromkeys(FLOWS, coupling)] * 5)
    assert every(await books.add_up(ids), "confirmed")
