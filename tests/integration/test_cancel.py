"""A rider's change of mind, undone in every service."""

import pytest

from prebook.contracts.plan import Coupling
from tests.conditions import eventually
from tests.integration.books import Books, every
from tests.integration.riders import Riders, pure

pytestmark = pytest.mark.real
GRANTED = "SELECT granted FROM pricing.campaign WHERE name = 'launch'"
SHARE = "SELECT state FROM pricing.discount_grant WHERE booking_id = $1"


@pytest.mark.parametrize("coupling", Coupling)
async def test_a_cancelled_ride_gives_everything_back(riders: Riders, books: Books, coupling: Coupling) -> None:
    granted = await books.value(GRANTED)
    booking_id = await riders.prebook(pure(coupling))
    assert every(await books.add_up([booking_id]), "confirmed")
    assert await books.value(GRANTED) == granted + 1
    assert await books.value(SHARE, booking_id) == "granted"

    assert (await riders.cancel(booking_id)).json()["state"] == "cancelled"
    assert (await riders.cancel(booking_id)).json()["state"] == "cancelled", "again is the same"
    assert every(await books.add_up([booking_id]), "cancelled"), "the driver's slot is free, in matching and in fleets"

    async def returned() -> bool:
        return bool(await books.value(SHARE, booking_id) == "returned")

    await eventually(returned)
    assert await books.value(GRANTED) == granted
    view = await riders.view(booking_id)
    assert [change.state for change in view.history] == ["requested", "priced", "matched", "confirmed", "cancelled"]


async def test_what_is_over_cannot_be_cancelled(riders: Riders, books: Books) -> None:
    booking_id = await riders.prebook(dropoff={"lat": -33.9, "lon": 18.4})  # too far for a fare
    assert every(await books.add_up([booking_id]), "rejected")
    refused = await riders.cancel(booking_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "booking_over")
    assert every(await books.add_up([booking_id]), "rejected")
