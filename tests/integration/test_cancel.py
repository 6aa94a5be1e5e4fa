"""A rider's change of mind, undone in every service."""

import pytest

from prebook.contracts.plan import Coupling
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient, uniform_plan

pytestmark = pytest.mark.real
GRANTED = "SELECT granted FROM pricing.campaign WHERE name = 'launch'"
SHARE = "SELECT state FROM pricing.discount_grant WHERE booking_id = $1"


@pytest.mark.parametrize("coupling", Coupling)
async def test_a_cancelled_ride_gives_everything_back(
    rider: RiderClient, database: DatabaseProbe, coupling: Coupling
) -> None:
    granted = await database.fetch_value(GRANTED)
    booking_id = await rider.prebook(uniform_plan(coupling))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    assert await database.fetch_value(GRANTED) == granted + 1
    assert await database.fetch_value(SHARE, booking_id) == "granted"

    assert (await rider.cancel(booking_id)).json()["state"] == "cancelled"
    assert (await rider.cancel(booking_id)).json()["state"] == "cancelled", "again is the same"
    assert all_in_state(await database.verify_bookings([booking_id]), "cancelled"), (
        "the driver's slot is free, in matching and in fleets"
    )

    async def returned() -> bool:
        return bool(await database.fetch_value(SHARE, booking_id) == "returned")

    await poll_until(returned)
    assert await database.fetch_value(GRANTED) == granted
    view = await rider.fetch_view(booking_id)
    assert [change.state for change in view.history] == ["requested", "priced", "matched", "confirmed", "cancelled"]


async def test_what_is_over_cannot_be_cancelled(rider: RiderClient, database: DatabaseProbe) -> None:
    booking_id = await rider.prebook(dropoff={"lat": -33.9, "lon": 18.4})  # too far for a fare
    assert all_in_state(await database.verify_bookings([booking_id]), "rejected")
    refused = await rider.cancel(booking_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "booking_over")
    assert all_in_state(await database.verify_bookings([booking_id]), "rejected")
