"""Senders of every version with receivers of the newest, in every coupling."""

import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS
from prebook.messaging.addresses import PARKING_QUEUE
from tests.conditions import wait_until
from tests.world import SuiteWorld


@pytest.mark.parametrize("coupling", Coupling)
@pytest.mark.parametrize("version", [1, 2, 3])
async def test_senders_of_any_version_are_understood(coupling: Coupling, version: int) -> None:
    versions = (f"find_driver={version}", f"booking_ended={version}")
    async with SuiteWorld(message_versions=versions) as world:
        booking = await world.book(dict.fromkeys(FLOWS, coupling))
        ride = await world.wait_until_settled(booking)
        await world.http.client("booking").delete(f"/v1/bookings/{booking}")
        matching = world.databases["matching"]
        await wait_until(lambda: f"{booking}.booking_ended" in matching.tables.inbox)
        received = [matching.tables.inbox[f"{booking}.{name}"] for name in ("find_driver", "booking_ended")]

    assert ride.state is BookingState.CONFIRMED
    assert not world.broker.queues[PARKING_QUEUE]
    types = [each.encoded_body.type if each.encoded_body else "newest" for each in received]
    assert set(types) <= {f"prebook.find_driver.v{version}", f"prebook.booking_ended.v{version}", "newest"}
    assert version == 3 or "newest" not in types
