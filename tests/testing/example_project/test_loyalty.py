"""Loyalty and checkout in memory: every coupling, duplicates, an outage, and a message that cannot be handled."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from loyalty import AWARD_POINTS, CHECKOUT, LOYALTY, FinishRide

from prebook.contracts.plan import Coupling
from prebook.messaging.addresses import PARKING_QUEUE
from prebook.testing.configuration import make_policies
from prebook.testing.world import World


@dataclass
class MemoryPoints:
    """Store of loyalty in memory."""

    points: Counter[str] = field(default_factory=Counter)

    async def add_points(self, rider_id: str, points: int) -> int:
        self.points[rider_id] += points
        return self.points[rider_id]


@dataclass
class MemoryReceipts:
    """Store of checkout in memory."""

    receipts: dict[str, str] = field(default_factory=dict)

    async def save_receipt(self, ride_id: str, text: str) -> None:
        self.receipts[ride_id] = text


MEMBERS = {"loyalty": (LOYALTY, MemoryPoints), "checkout": (CHECKOUT, MemoryReceipts)}
RIDE = FinishRide(rider_id="rosa", fare_cents=1250)


@pytest.mark.parametrize("coupling", Coupling)
async def test_a_ride_earns_its_points_once_in_every_coupling(coupling: Coupling) -> None:
    async with World(MEMBERS, policies=make_policies(coupling), copies=3) as world:
        await world.execute("checkout", RIDE, "ride-1")
        await world.wait_for_state("checkout", lambda state: state.receipts == {"ride-1": "you have 12 points"})

    assert world.databases["loyalty"].tables.state.points == {"rosa": 12}


async def test_points_follow_later_if_loyalty_is_down() -> None:
    async with World(MEMBERS, policies=make_policies(Coupling.ONE_WAY, deadline_s=0.1)) as world:
        world.down.add("loyalty")
        await world.execute("checkout", RIDE, "ride-1")
        await world.wait_for_state("checkout", lambda state: state.receipts == {"ride-1": "points follow later"})


async def test_a_request_that_cannot_be_handled_is_parked() -> None:
    async with World(MEMBERS, policies=make_policies(Coupling.REQUEST_REPLY)) as world, asyncio.timeout(5):
        await world.execute("checkout", FinishRide(rider_id="rosa", fare_cents=-1), "ride-1")
        await world.broker.wait_for_message(PARKING_QUEUE)

    (parked,) = world.broker.queues[PARKING_QUEUE]
    assert parked.headers["prebook-x-error"] == "ValueError: a fare is not negative"
    assert parked.headers["prebook-flow"] == AWARD_POINTS.name
