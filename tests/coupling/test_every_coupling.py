"""What every coupling must do, selected by what it promises and never by its name."""

import time

import msgspec
import pytest
from aiohttp import web

from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS
from prebook.patterns.signature import verify
from tests.conditions import becomes
from tests.listener import target
from tests.world import SuiteWorld

RIDER_SECRETS = ("for riders' systems",)


def everywhere(coupling: Coupling) -> Plan:
    return dict.fromkeys(FLOWS, coupling)


every_coupling = pytest.mark.parametrize("coupling", Coupling)


@every_coupling
async def test_only_inline_answers_settle_before_the_rider_has_the_response(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        response = await world.post_booking(everywhere(coupling))
        traits = world.services["booking"].channels[coupling].traits

    assert response.status_code == (201 if traits.replies_inline else 202)
    assert response.json()["settled"] is traits.replies_inline


@every_coupling
async def test_a_provider_that_is_away_and_comes_back(coupling: Coupling) -> None:
    """Direct calls fail the ride; everything with an outbox waits and goes on."""
    async with SuiteWorld() as world:
        world.down.add("pricing")
        booking = await world.book(everywhere(coupling))
        traits = world.services["booking"].channels[coupling].traits
        meanwhile = await world.fetch_view(booking)
        world.down.clear()
        after = await world.wait_until_settled(booking)

    if traits.uses_outbox:
        assert (meanwhile.state, after.state) == (BookingState.REQUESTED, BookingState.CONFIRMED)
    else:
        assert after.state is BookingState.FAILED


@every_coupling
async def test_what_is_delivered_three_times_has_one_effect(coupling: Coupling) -> None:
    async with SuiteWorld(copies=3) as world:
        world.http.copies = 3
        booking = await world.book(everywhere(coupling))
        ride = await world.wait_until_settled(booking)
        deliveries = world.databases["notification"].tables.state

    assert world.observer.duplicates > 0
    assert [change.state for change in ride.history].count(BookingState.CONFIRMED) == 1
    assert len(deliveries.log) == 1


@every_coupling
async def test_what_is_never_answered_is_settled_by_its_deadline(coupling: Coupling) -> None:
    async with SuiteWorld(deadline_s=0.4) as world:
        booking = await world.book(everywhere(coupling))
        await world.wait_until_settled(booking)
        world.down.add("pricing")
        silent = await world.book(everywhere(coupling))
        ride = await world.wait_until(silent, lambda view: view.settled)

    assert ride.state in (BookingState.EXPIRED, BookingState.FAILED)
    assert ride.fare is None


@every_coupling
async def test_a_broker_that_is_away_stops_only_who_needs_it(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        world.broker.is_down = True
        booking = await world.book(everywhere(coupling))
        traits = world.services["booking"].channels[coupling].traits
        if not traits.needs_broker_up:
            ride = await world.wait_until_settled(booking)
        else:
            assert not (await world.fetch_view(booking)).settled
            world.broker.is_down = False
            ride = await world.wait_until_settled(booking)

    assert ride.state is BookingState.CONFIRMED


@every_coupling
async def test_a_ride_that_is_too_far_is_rejected(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        booking = await world.book(everywhere(coupling), dropoff={"lat": 48.1, "lon": 11.6})
        ride = await world.wait_until_settled(booking)

    assert ride.state is BookingState.REJECTED
    assert ride.driver is None


async def test_lost_callbacks_are_made_up_for_by_asking() -> None:
    async with SuiteWorld() as world:
        world.http.lose_callbacks = True
        booking = await world.book(everywhere(Coupling.ASYNC_API))
        ride = await world.wait_until_settled(booking, timeout_s=20.0)

    assert ride.state is BookingState.CONFIRMED
    assert any(call.startswith("GET pricing/operations/") for call in world.http.calls)


async def test_a_further_subscriber_hears_without_the_sender_knowing() -> None:
    async with SuiteWorld() as world:
        world.broker.bind("prebook.events", "request.quote_fare", "auditor.hears")
        world.broker.bind("prebook.events", "reply.quote_fare", "auditor.hears")
        booking = await world.book(everywhere(Coupling.ONE_WAY))
        ride = await world.wait_until_settled(booking)
        heard = [wire.headers["ce-type"] for wire in world.broker.queues["auditor.hears"]]

    assert ride.state is BookingState.CONFIRMED
    assert heard == ["prebook.quote_fare.v1", "prebook.fare_quoted.v1"]


@every_coupling
async def test_a_riders_own_system_is_told_until_it_has_taken_it(coupling: Coupling) -> None:
    told: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        verify(RIDER_SECRETS, request.headers, body, now_s=time.time())
        told.append(msgspec.json.decode(body))
        return web.Response(status=503 if len(told) == 1 else 204)

    async with (
        target(answer) as url,
        SuiteWorld(rider_callback_hosts=frozenset({url}), rider_callback_secrets=RIDER_SECRETS) as world,
    ):
        booking = await world.book(everywhere(coupling), callback_url=f"{url}/told")
        await world.wait_until_settled(booking)
        await becomes(lambda: len(told) == 2)

    refused, taken = told
    assert refused == taken
    assert (taken["booking_id"], taken["outcome"]) == (booking, "confirmed")
