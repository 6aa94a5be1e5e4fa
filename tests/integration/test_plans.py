"""Every plan has the same result, with real servers and real processes."""

from collections.abc import Mapping

import pytest

from prebook.contracts.plan import Coupling, Plan
from prebook.flows import FLOWS
from tests.coupling.test_every_plan import FARE_CENTS, HISTORY
from tests.integration.covering_array import covering_array
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient

pytestmark = pytest.mark.real
PLANS: list[Plan] = [
    dict(zip(FLOWS, map(Coupling, row), strict=True)) for row in covering_array(len(FLOWS), [c.value for c in Coupling])
]


def plan_text(plan: Mapping[str, Coupling]) -> str:
    """Return the couplings of a plan in the order of the flows."""
    return "-".join(plan[flow] for flow in FLOWS)


async def test_plans_with_every_pair_of_couplings_have_the_same_result(
    rider: RiderClient, database: DatabaseProbe
) -> None:
    ids = await rider.prebook_all(PLANS)
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
    views = [await rider.fetch_view(booking_id) for booking_id in ids]
    assert [plan_text(view.couplings) for view in views] == [plan_text(plan) for plan in PLANS]
    for view in views:
        assert view.fare is not None, view
        assert view.fare.cents == FARE_CENTS, view
        assert [change.state for change in view.history] == HISTORY, view
        assert [change.at for change in view.history] == sorted(change.at for change in view.history)
        assert view.driver is not None, view
    assert len({view.driver for view in views}) == len(views), "no driver is assigned twice"


@pytest.mark.parametrize("coupling", Coupling)
async def test_every_uniform_plan_confirms_all_rides(
    rider: RiderClient, database: DatabaseProbe, coupling: Coupling
) -> None:
    ids = await rider.prebook_all([dict.fromkeys(FLOWS, coupling)] * 5)
    assert all_in_state(await database.verify_bookings(ids), "confirmed")
