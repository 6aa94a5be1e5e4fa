"""Trips in every coupling: split into bookings, aggregated to one outcome, whatever is delivered twice."""

import time
from typing import Any

import msgspec
import pytest
from aiohttp import web

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.contracts.trip import TripCompletion, TripPolicy, TripState
from prebook.contracts.trip_http import TripView
from prebook.flows import FLOWS
from prebook.patterns.signature import verify
from tests.conditions import wait_until
from tests.listener import listen
from tests.world import SuiteWorld, ride

TOO_SHORT = {"dropoff": {"lat": 52.5001, "lon": 13.4}}
"""Change of a ride that pricing refuses."""
RIDER_SECRETS = ("secret of rider callbacks",)
every_coupling = pytest.mark.parametrize("coupling", Coupling)


def is_notified(view: TripView) -> bool:
    return view.settled and view.notified_at is not None


async def book(world: SuiteWorld, coupling: Coupling, *changes: dict[str, Any], **trip: Any) -> str:
    return await world.book_trip(dict.fromkeys(FLOWS, coupling), [ride(**each) for each in changes], **trip)


async def book_and_wait(world: SuiteWorld, coupling: Coupling, *changes: dict[str, Any], **trip: Any) -> TripView:
    return await world.wait_for_trip(await book(world, coupling, *changes, **trip), is_notified)


def delivered_notices(world: SuiteWorld) -> list[tuple[str, str]]:
    return [tuple(delivery.position) for delivery in world.databases["notification"].tables.state.log]


async def wait_for_assigned(world: SuiteWorld, bookings: set[str]) -> None:
    """Wait until matching has drivers for exactly these bookings, and pricing has granted their discounts only."""
    await world.wait_for_state("matching", lambda state: set(state.assignments.values()) == bookings)
    await world.wait_for_state("pricing", lambda state: state.granted == len(bookings))


@every_coupling
@pytest.mark.parametrize("copies", [1, 3])
async def test_a_trip_whose_legs_are_confirmed_is_confirmed(coupling: Coupling, copies: int) -> None:
    async with SuiteWorld(copies=copies) as world:
        trip = await book_and_wait(world, coupling, {}, {}, {})
        await wait_for_assigned(world, {leg.id for leg in trip.legs})
        notices = delivered_notices(world)

    assert (trip.state, trip.completed_by) == (TripState.CONFIRMED, TripCompletion.ALL_LEGS)
    assert [change.state for change in trip.history] == [TripState.REQUESTED, TripState.CONFIRMED]
    assert [(leg.leg, leg.trip_id, leg.state, leg.notified_at) for leg in trip.legs] == [
        (number, trip.id, BookingState.CONFIRMED, None) for number in (1, 2, 3)
    ]
    assert trip.fare
    assert trip.fare.cents == sum(leg.fare.cents for leg in trip.legs if leg.fare)
    assert notices == [(trip.id, "confirmed")]


@every_coupling
@pytest.mark.parametrize("copies", [1, 3])
async def test_one_leg_that_is_not_confirmed_ends_the_trip_and_cancels_the_others(
    coupling: Coupling, copies: int
) -> None:
    async with SuiteWorld(copies=copies) as world:
        trip = await book_and_wait(world, coupling, {}, TOO_SHORT, {})
        await wait_for_assigned(world, set())
        notices = delivered_notices(world)

    assert (trip.state, trip.completed_by, trip.fare) == (TripState.REJECTED, TripCompletion.FAILED_LEG, None)
    assert trip.reason
    assert trip.reason.startswith("leg 2: no fare: ")
    assert [leg.state for leg in trip.legs] == ["cancelled", "rejected", "cancelled"]
    assert trip.legs[0].reason == "the trip is rejected"
    assert notices == [(trip.id, "rejected")]


@every_coupling
async def test_a_partial_trip_keeps_its_confirmed_legs_and_says_why_others_are_missing(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        trip = await book_and_wait(world, coupling, {}, TOO_SHORT, {}, policy="partial")
        await wait_for_assigned(world, {trip.legs[0].id, trip.legs[2].id})
        (delivery,) = world.databases["notification"].tables.state.log

    assert (trip.state, trip.completed_by) == (TripState.PARTLY_CONFIRMED, TripCompletion.ALL_LEGS)
    assert [leg.state for leg in trip.legs] == ["confirmed", "rejected", "confirmed"]
    assert delivery.text.startswith("2 of the 3 rides of your trip are confirmed: leg 2: no fare: ")


@every_coupling
async def test_a_partial_trip_without_a_confirmed_leg_is_rejected(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        trip = await book_and_wait(world, coupling, TOO_SHORT, TOO_SHORT, policy="partial")

    assert (trip.state, trip.completed_by) == (TripState.REJECTED, TripCompletion.ALL_LEGS)


@pytest.mark.parametrize("policy", TripPolicy)
async def test_the_deadline_ends_a_trip_that_waits_for_its_legs(policy: TripPolicy) -> None:
    async with SuiteWorld() as world:
        world.down.add("pricing")
        trip_id = await book(world, Coupling.ONE_WAY, {}, {}, policy=policy, deadline_s=1)
        trip = await world.wait_for_trip(trip_id, is_notified)
        world.down.clear()
        await wait_for_assigned(world, set())
        after = await world.fetch_trip(trip_id)

    assert (trip.state, trip.completed_by) == (TripState.EXPIRED, TripCompletion.DEADLINE)
    assert trip.reason == "; ".join(f"leg {n}: no outcome by the deadline of the trip" for n in (1, 2))
    assert [leg.state for leg in after.legs] == ["cancelled", "cancelled"]
    assert after.history == trip.history


@every_coupling
async def test_cancelling_a_confirmed_trip_cancels_every_leg_once(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        trip = await book_and_wait(world, coupling, {}, {})
        client = world.http.client("booking")
        responses = [await client.delete(f"/v1/trips/{trip.id}") for _ in range(2)]
        cancelled = await world.wait_for_trip(trip.id, is_notified)
        await wait_for_assigned(world, set())
        notices = delivered_notices(world)

    assert [(response.status_code, response.json()["state"]) for response in responses] == [(200, "cancelled")] * 2
    assert {leg["state"] for leg in responses[0].json()["legs"]} == {"cancelled"}
    assert [change.state for change in cancelled.history] == ["requested", "confirmed", "cancelled"]
    assert cancelled.completed_by is TripCompletion.ALL_LEGS
    assert notices == [(trip.id, "confirmed"), (trip.id, "cancelled")]


async def test_an_open_trip_that_is_cancelled_takes_no_further_outcome() -> None:
    async with SuiteWorld() as world:
        world.down.add("matching")
        trip_id = await book(world, Coupling.REQUEST_REPLY, {}, {})
        await world.wait_for_trip(trip_id, lambda view: all(leg.state == "priced" for leg in view.legs))
        await world.http.client("booking").delete(f"/v1/trips/{trip_id}")
        world.down.clear()
        await wait_for_assigned(world, set())
        trip = await world.wait_for_trip(trip_id, is_notified)

    assert (trip.state, trip.completed_by) == (TripState.CANCELLED, TripCompletion.CANCELLED)
    assert {leg.state for leg in trip.legs} == {BookingState.CANCELLED}


async def test_a_leg_is_not_cancelled_on_its_own() -> None:
    async with SuiteWorld() as world:
        trip = await book_and_wait(world, Coupling.ONE_WAY, {}, {})
        response = await world.http.client("booking").delete(f"/v1/bookings/{trip.legs[0].id}")

    assert (response.status_code, response.json()["code"]) == (409, "part_of_trip")
    assert f"/v1/trips/{trip.id}" in response.json()["detail"]


async def test_the_rider_s_system_gets_one_callback_for_each_outcome_of_the_trip() -> None:
    callbacks: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        verify(RIDER_SECRETS, request.headers, body, now_s=time.time())
        callbacks.append(msgspec.json.decode(body))
        return web.Response(status=204)

    async with (
        listen(handle) as url,
        SuiteWorld(rider_callback_hosts=frozenset({url}), rider_callback_secrets=RIDER_SECRETS) as world,
    ):
        hook = f"{url}/hook"
        trip = await book_and_wait(world, Coupling.ONE_WAY, {}, TOO_SHORT, policy="partial", callback_url=hook)
        await world.http.client("booking").delete(f"/v1/trips/{trip.id}")
        await wait_until(lambda: len(callbacks) >= 2, 20.0)
        await world.wait_for_trip(trip.id, is_notified)

    assert [(each["type"], each["trip_id"], each["outcome"], each["sequence"]) for each in callbacks] == [
        ("trip.settled.v1", trip.id, "partly_confirmed", 2),
        ("trip.settled.v1", trip.id, "cancelled", 3),
    ]
    assert [leg["state"] for leg in callbacks[0]["legs"]] == ["confirmed", "rejected"]
    assert trip.fare
    assert (callbacks[0]["fare"]["cents"], callbacks[1]["fare"]) == (trip.fare.cents, None)
    assert callbacks[0]["completed_by"] == "all_legs"
    assert "report_url" not in callbacks[0]
