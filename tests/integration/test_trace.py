"""`prebook trace` and the endpoints behind it on a running suite: every message of a ride, in each coupling."""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from tests.integration.internal_client import open_internal_client
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
NOTIFY_TIMEOUT_S = 60.0
RIDER = "rider-that-nobody-may-see"
CONVERSATION = [
    ("quote_fare", "request", "booking", "pricing"),
    ("quote_fare", "reply", "pricing", "booking"),
    ("find_driver", "request", "booking", "matching"),
    ("find_driver", "reply", "matching", "booking"),
    ("notify_rider", "request", "booking", "notification"),
    ("notify_rider", "reply", "notification", "booking"),
    ("booking_confirmed", "event", "booking", None),
]


async def book(suite: Suite, plan: Mapping[str, Coupling], key: str) -> str:
    """Book a ride and return its id once its rider is notified."""
    async with httpx.AsyncClient(base_url=suite.state.urls["booking"], timeout=30, trust_env=False) as http:
        rider = RiderClient(http)
        response = await rider.post_booking(plan, key=key, rider_id=RIDER)
        assert response.status_code in {201, 202}, response.text
        booking_id: str = response.json()["id"]
        async with asyncio.timeout(NOTIFY_TIMEOUT_S):
            while not (view := await rider.fetch_view(booking_id)).notified_at:
                await asyncio.sleep(0.1)
    assert view.state is BookingState.CONFIRMED, view.reason
    return booking_id


def trace(suite: Suite, reference: str) -> Any:
    command = suite.prebook("trace", "--json", reference)
    assert command.returncode == 0, command.stderr
    assert RIDER not in command.stdout
    return msgspec.json.decode(command.stdout)


@pytest.mark.parametrize("coupling", Coupling)
async def test_every_message_of_a_ride_is_told_with_its_waits(suite: Suite, coupling: Coupling) -> None:
    key = f"trace/{uuid4().hex}"
    booking_id = await book(suite, uniform_plan(coupling), key)

    timeline = trace(suite, key)

    assert (timeline["id"], timeline["plan"], timeline["state"]) == (booking_id, coupling.value, "confirmed")
    assert (timeline["is_complete"], timeline["missing"]) == (True, {})
    assert timeline["requested_at"] < timeline["settled_at"] <= timeline["notified_at"]
    assert set(timeline["lanes"]) == {"booking", "pricing", "matching", "fleets", "notification"}
    assert len(timeline["trace_ids"]) == 1
    told = [(each["name"], each["kind"], each["sender"], each["receiver"]) for each in timeline["messages"]]
    assert set(CONVERSATION) <= set(told)
    asked = [each["key"] for each in timeline["messages"] if (each["name"], each["kind"]) == ("ask_fleet", "request")]
    assert len(asked) == len(set(asked)) >= 2
    for message in timeline["messages"]:
        if message["receiver"] is None:
            assert (message["state"], message["queue_s"]) == ("published", None)
            continue
        assert message["coupling"] == ("one_way" if message["kind"] == "event" else coupling.value)
        if message["state"] == "handled":
            assert message["is_measured"], message
            assert message["processing_s"] > 0, message
            assert message["outbox_s"] >= 0, message
            assert message["queue_s"] >= 0, message
            assert message["created_at"] <= message["began_at"] <= message["ended_at"], message


async def test_a_ride_is_found_by_booking_key_and_message(suite: Suite) -> None:
    key = f"trace-{uuid4().hex}"
    booking_id = await book(suite, uniform_plan(Coupling.REQUEST_REPLY), key)
    expected = trace(suite, booking_id)["messages"]
    for reference in (key, f"{booking_id}.quote_fare", f"{booking_id}.quote_fare.reply"):
        assert trace(suite, reference)["messages"] == expected
    text = suite.prebook("trace", booking_id)
    assert text.returncode == 0, text.stderr
    assert booking_id in text.stdout
    assert "notify_rider" in text.stdout
    assert RIDER not in text.stdout


def test_an_unknown_reference_is_an_error_with_a_remedy(suite: Suite) -> None:
    unknown = suite.prebook("trace", "bk_nobody")
    assert unknown.returncode == 1
    assert "nothing is known of bk_nobody" in unknown.stderr
    assert "Idempotency-Key" in unknown.stderr


async def test_only_the_console_reads_conversations(suite: Suite) -> None:
    async with open_internal_client(suite, "booking", "pricing") as pricing:
        for path in ("/v1/conversations/bk_1", "/v1/conversations?reference=bk_1"):
            assert (await pricing.get(path)).status_code in {401, 403}
    async with open_internal_client(suite, "booking") as console:
        assert (await console.get("/v1/conversations/bk_1")).json()["sent"] == []
        assert (await console.get("/v1/conversations?reference=a%20b")).status_code == 400
