"""A steady stream of booking requests while a fault is injected."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, cycle
from uuid import uuid4

import httpx

from prebook.contracts.plan import Plan
from tests.integration.rider_client import ACCEPTED_STATUSES, RiderClient

OFFER_INTERVAL_S = 0.15
RETRY_TIMEOUT_S = 30.0


@dataclass
class RideOffers:
    """Results of offered rides: the ids of accepted bookings, and the responses that refused a ride."""

    ids: list[str] = field(default_factory=list)
    refusals: list[httpx.Response] = field(default_factory=list)


@asynccontextmanager
async def offer_rides(rider: RiderClient, plans: Sequence[Plan], *, retry: bool = False) -> AsyncIterator[RideOffers]:
    """Offer a ride every ``OFFER_INTERVAL_S`` while the block runs, and yield their results.

    Args:
        rider: client that sends the requests.
        plans: plans of the rides, in turn.
        retry: whether a rider repeats a refused request with the same key until it is accepted.
    """
    offers = RideOffers()
    block_ended = asyncio.Event()
    offer = _offer_until_accepted if retry else _offer_once

    async def offer_continuously() -> None:
        ending = asyncio.create_task(block_ended.wait())
        async with asyncio.TaskGroup() as requests:
            for plan in cycle(plans):
                requests.create_task(offer(rider, plan, offers))
                await asyncio.wait({ending}, timeout=OFFER_INTERVAL_S)
                if block_ended.is_set():
                    return

    offering = asyncio.create_task(offer_continuously())
    try:
        yield offers
    finally:
        block_ended.set()
        await offering


async def _offer_once(rider: RiderClient, plan: Plan, offers: RideOffers) -> None:
    response = await rider.post_booking(plan)
    if response.status_code in ACCEPTED_STATUSES:
        offers.ids.append(response.json()["id"])
    else:
        offers.refusals.append(response)


async def _offer_until_accepted(rider: RiderClient, plan: Plan, offers: RideOffers) -> None:
    """Repeat a request with one idempotency key, so that any number of attempts makes one booking."""
    key = uuid4().hex
    async with asyncio.timeout(RETRY_TIMEOUT_S):
        for _ in count():
            try:
                response = await rider.post_booking(plan, key=key)
            except httpx.TransportError:
                await asyncio.sleep(OFFER_INTERVAL_S)
                continue
            if response.status_code in ACCEPTED_STATUSES:
                offers.ids.append(response.json()["id"])
                return
            offers.refusals.append(response)
            await asyncio.sleep(OFFER_INTERVAL_S)
