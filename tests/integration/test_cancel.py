"""Cancellation of a booking, undone in every service."""

import pytest

from prebook.contracts.plan import Coupling
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.rider_client import RiderClient, uniform_plan

pytestmark = pytest.mark.real
GRANTED = "SELECT granted FROM pricing.campaign WHERE name = 'launch'"
GRANT_STATE = "SELECT state FROM pricing.discount_grant WHERE booking_id = $1"


@pytest.mark.parametrize("coupling", Coupling)
async def test_a_cancellation_releases_the_driver_and_returns_the_discount(
    rider: RiderClient, database: DatabaseProbe, coupling: Coupling
) -> None:
    granted = await database.fetch_value(GRANTED)
    booking_id = await rider.prebook(uniform_plan(coupling))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    assert await database.fetch_value(GRANTED) == granted + 1
    assert await database.fetch_value(GRANT_STATE, booking_id) == "granted"

    assert (await rider.cancel(booking_id)).json()["state"] == "cancelled"
    assert (await rider.cancel(booking_id)).json()["state"] == "cancelled", (
        "a repeated cancellation has the same result"
    )
    assert all_in_state(await database.verify_bookings([booking_id]), "cancelled"), (
        "matching and fleets have released the driver's slot"
    )

    async def returned() -> bool:
        return bool(await database.fetch_value(GRANT_STATE, booking_id) == "returned")

    await poll_until(returned)
    assert await database.fetch_value(GRANTED) == granted
    view = await rider.fetch_view(booking_id)
    assert [change.state for change in view.history] == ["requested", "priced", "matched", "confirmed", "cancelled"]


async def test_a_settled_booking_cannot_be_cancelled(rider: RiderClient, database: DatabaseProbe) -> None:
    booking_id = await rider.prebook(dropoff={"lat": -33.9, "lon": 18.4})  # farther than the longest ride with a fare
    assert all_in_state(await database.verify_bookings([booking_id]), "rejected")
    refused = await rider.cancel(booking_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "booking_over")
    assert all_in_state(await database.verify_bookings([booking_id]), "rejected")
