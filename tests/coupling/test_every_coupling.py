"""Behaviour of every coupling; expectations depend on its traits, never on its name."""

import time
from datetime import datetime

import msgspec
import pytest
from aiohttp import web

from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.ride import BookingState
from prebook.flows import FLOWS
from prebook.messaging import addresses
from prebook.patterns.signature import verify
from prebook.patterns.trace import TraceContext, trace_id
from tests.conditions import wait_until
from tests.listener import listen
from tests.world import SuiteWorld

RIDER_SECRETS = ("secret of rider callbacks",)


def plan_with(coupling: Coupling) -> Plan:
    return dict.fromkeys(FLOWS, coupling)


every_coupling = pytest.mark.parametrize("coupling", Coupling)


@every_coupling
async def test_only_inline_replies_settle_a_booking_before_the_response(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        response = await world.post_booking(plan_with(coupling))
        traits = world.services["booking"].channels[coupling].traits

    assert response.status_code == (201 if traits.replies_inline else 202)
    assert response.json()["settled"] is traits.replies_inline


@every_coupling
async def test_an_outbox_survives_an_outage_of_the_provider(coupling: Coupling) -> None:
    """A ride waits for the provider if its coupling has an outbox, and fails otherwise."""
    async with SuiteWorld() as world:
        world.down.add("pricing")
        booking = await world.book(plan_with(coupling))
        traits = world.services["booking"].channels[coupling].traits
        during_outage = await world.fetch_view(booking)
        world.down.clear()
        after_outage = await world.wait_until_settled(booking)

    if traits.uses_outbox:
        assert (during_outage.state, after_outage.state) == (BookingState.REQUESTED, BookingState.CONFIRMED)
    else:
        assert after_outage.state is BookingState.FAILED


@every_coupling
async def test_a_message_delivered_three_times_has_one_effect(coupling: Coupling) -> None:
    async with SuiteWorld(copies=3) as world:
        booking = await world.book(plan_with(coupling))
        ride = await world.wait_until_settled(booking)
        deliveries = world.databases["notification"].tables.state

    assert world.observer.duplicates > 0
    assert [change.state for change in ride.history].count(BookingState.CONFIRMED) == 1
    assert len(deliveries.log) == 1


@every_coupling
async def test_a_request_without_a_reply_is_settled_by_its_deadline(coupling: Coupling) -> None:
    async with SuiteWorld(deadline_s=0.4) as world:
        booking = await world.book(plan_with(coupling))
        await world.wait_until(booking, lambda view: view.settled)
        world.down.add("pricing")
        unanswered = await world.book(plan_with(coupling))
        ride = await world.wait_until(unanswered, lambda view: view.settled)

    assert ride.state in (BookingState.EXPIRED, BookingState.FAILED)
    assert ride.fare is None


@every_coupling
async def test_a_broker_outage_stops_only_couplings_that_need_the_broker(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        world.broker.is_down = True
        booking = await world.book(plan_with(coupling))
        traits = world.services["booking"].channels[coupling].traits
        if not traits.needs_broker_up:
            ride = await world.wait_until_settled(booking)
        else:
            assert not (await world.fetch_view(booking)).settled
            world.broker.is_down = False
            ride = await world.wait_until_settled(booking)

    assert ride.state is BookingState.CONFIRMED


@every_coupling
async def test_a_ride_that_is_too_long_is_rejected(coupling: Coupling) -> None:
    async with SuiteWorld() as world:
        booking = await world.book(plan_with(coupling), dropoff={"lat": 48.1, "lon": 11.6})
        ride = await world.wait_until_settled(booking)

    assert ride.state is BookingState.REJECTED
    assert ride.driver is None


async def test_polling_replaces_lost_callbacks() -> None:
    async with SuiteWorld() as world:
        world.http.lose_callbacks = True
        booking = await world.book(plan_with(Coupling.ASYNC_API))
        ride = await world.wait_until_settled(booking, timeout_s=20.0)

    assert ride.state is BookingState.CONFIRMED
    assert any(call.startswith("GET pricing/operations/") for call in world.http.calls)


async def test_another_subscriber_receives_messages_without_a_change_of_the_sender() -> None:
    async with SuiteWorld() as world:
        auditor = addresses.event_queue("auditor")
        world.broker.bind(addresses.EVENTS, "request.quote_fare", auditor)
        world.broker.bind(addresses.EVENTS, "reply.quote_fare", auditor)
        booking = await world.book(plan_with(Coupling.ONE_WAY))
        ride = await world.wait_until_settled(booking)
        received = [message.headers["ce-type"] for message in world.broker.queues[auditor]]

    assert ride.state is BookingState.CONFIRMED
    assert received == ["prebook.quote_fare.v1", "prebook.fare_quoted.v1"]


@every_coupling
async def test_a_rider_callback_is_repeated_until_it_succeeds(coupling: Coupling) -> None:
    callbacks: list[dict[str, object]] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        verify(RIDER_SECRETS, request.headers, body, now_s=time.time())
        callbacks.append(msgspec.json.decode(body))
        return web.Response(status=503 if len(callbacks) == 1 else 204)

    async with (
        listen(handle) as url,
        SuiteWorld(rider_callback_hosts=frozenset({url}), rider_callback_secrets=RIDER_SECRETS) as world,
    ):
        booking = await world.book(plan_with(coupling), callback_url=f"{url}/hook")
        ride = await world.wait_until_settled(booking)
        await wait_until(lambda: len(callbacks) == 2, 20.0)

    first, accepted = callbacks
    assert first == accepted
    assert (accepted["booking_id"], accepted["outcome"]) == (booking, "confirmed")
    assert accepted["sequence"] == len(ride.history)
    assert datetime.fromisoformat(str(accepted["occurred_at"])) == ride.history[-1].at


@every_coupling
async def test_trace_id_flags_and_state_reach_every_message_of_a_ride(coupling: Coupling) -> None:
    unsampled = TraceContext(f"00-{'4b' * 16}-{'b7' * 8}-00", "rojo=1,congo=2")
    async with SuiteWorld() as world:
        booking = await world.book(plan_with(coupling), trace=unsampled)
        await world.wait_until_settled(booking)
        traces = world.observer.handled_traces

    assert {(trace_id(each.traceparent), each.traceparent[-3:], each.tracestate) for each in traces} == {
        ("4b" * 16, "-00", "rojo=1,congo=2")
    }
    assert {"quote_fare", "find_driver", "ask_fleet", "notify_rider"} <= set(world.observer.handled_flows)
    assert unsampled.traceparent not in {each.traceparent for each in traces}


@every_coupling
async def test_an_invalid_trace_is_replaced_by_a_new_one(coupling: Coupling) -> None:
    zero_span = TraceContext(f"00-{'4b' * 16}-{'00' * 8}-01", "rojo=1")
    async with SuiteWorld() as world:
        booking = await world.book(plan_with(coupling), trace=zero_span)
        await world.wait_until_settled(booking)
        traces = world.observer.handled_traces

    assert {each.tracestate for each in traces} == {""}
    (trace,) = {trace_id(each.traceparent) for each in traces}
    assert trace not in {"", "4b" * 16}
