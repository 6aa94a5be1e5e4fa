"""Signed callbacks of the asynchronous API over real HTTP."""

import time

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.coupling.async_api import Callback
from prebook.patterns.signature import TOLERANCE_S, generate_secret, sign
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
REPLY = "SELECT reply FROM pricing.inbox WHERE conversation_id = $1 AND flow = 'quote_fare'"


@pytest.fixture
async def delivered_callback(rider: RiderClient, database: DatabaseProbe) -> tuple[str, str, bytes]:
    """Book a ride; return its id, the id of pricing's reply to it, and the body of the callback with that reply."""
    booking_id = await rider.prebook(uniform_plan(Coupling.ASYNC_API))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    stored = msgspec.json.decode(await database.fetch_value(REPLY, booking_id))
    return booking_id, stored["headers"]["ce-id"], msgspec.json.encode(Callback(stored["headers"], stored["body"]))


async def post_callback(suite: Suite, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(base_url=suite.state.urls["booking"], trust_env=False) as http:
        content_type = {"content-type": "application/json"}
        return await http.post("/callbacks/quote_fare", content=body, headers=content_type | headers)


async def test_a_callback_delivered_twice_has_one_effect(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, delivered_callback: tuple[str, str, bytes]
) -> None:
    booking_id, reply_id, body = delivered_callback
    rows, view, before = (
        await database.count_rows(),
        await rider.fetch_view(booking_id),
        await read_message_counter(suite, "duplicate"),
    )
    headers = sign(suite.state.callback_secrets, reply_id, int(time.time()), body)
    assert [(await post_callback(suite, body, headers)).status_code for _ in range(2)] == [204, 204]

    async def both_ignored() -> bool:
        return await read_message_counter(suite, "duplicate") == before + 2

    await poll_until(both_ignored)
    assert (await database.count_rows(), await rider.fetch_view(booking_id)) == (rows, view)


async def test_a_callback_without_a_valid_signature_is_refused(
    suite: Suite, delivered_callback: tuple[str, str, bytes]
) -> None:
    _, reply_id, body = delivered_callback
    secrets = suite.state.callback_secrets
    now = int(time.time())
    forged = {
        "unsigned": {},
        "signed with another secret": sign([generate_secret()], reply_id, now, body),
        "signed for another body": sign(secrets, reply_id, now, body + b" "),
        "too old": sign(secrets, reply_id, now - TOLERANCE_S - 5, body),
    }
    for case, headers in forged.items():
        response = await post_callback(suite, body, headers)
        assert (response.status_code, response.json()["code"]) == (401, "invalid_signature"), case
