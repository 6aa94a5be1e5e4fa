"""Signed callbacks over real HTTP."""

import time

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.coupling.async_api import Callback
from prebook.patterns.signature import TOLERANCE_S, sign
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
ANSWER = "SELECT reply FROM pricing.inbox WHERE conversation_id = $1 AND flow = 'quote_fare'"


@pytest.fixture
async def answered(rider: RiderClient, database: DatabaseProbe) -> tuple[str, str, bytes]:
    """A booking that is confirmed, the id of pricing's answer to it, and the body that its callback had."""
    booking_id = await rider.prebook(uniform_plan(Coupling.ASYNC_API))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    stored = msgspec.json.decode(await database.fetch_value(ANSWER, booking_id))
    return booking_id, stored["headers"]["ce-id"], msgspec.json.encode(Callback(stored["headers"], stored["body"]))


async def posted(suite: Suite, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(base_url=suite.state.urls["booking"], trust_env=False) as http:
        json = {"content-type": "application/json"}
        return await http.post("/callbacks/quote_fare", content=body, headers=json | headers)


async def test_a_callback_delivered_twice_has_one_effect(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, answered: tuple[str, str, bytes]
) -> None:
    booking_id, answer_id, body = answered
    rows, view, before = (
        await database.count_rows(),
        await rider.fetch_view(booking_id),
        await read_message_counter(suite, "duplicate"),
    )
    headers = sign(suite.state.callback_secrets, answer_id, int(time.time()), body)
    assert [(await posted(suite, body, headers)).status_code for _ in range(2)] == [204, 204]

    async def both_noticed() -> bool:
        return await read_message_counter(suite, "duplicate") == before + 2

    await poll_until(both_noticed)
    assert (await database.count_rows(), await rider.fetch_view(booking_id)) == (rows, view)


async def test_nobody_without_the_secret_is_heard(suite: Suite, answered: tuple[str, str, bytes]) -> None:
    _, answer_id, body = answered
    secrets, now = suite.state.callback_secrets, int(time.time())
    forged = {
        "unsigned": {},
        "signed with another secret": sign(["another secret"], answer_id, now, body),
        "signed for another body": sign(secrets, answer_id, now, body + b" "),
        "too old": sign(secrets, answer_id, now - TOLERANCE_S - 5, body),
    }
    for how, headers in forged.items():
        response = await posted(suite, body, headers)
        assert (response.status_code, response.json()["code"]) == (401, "invalid_signature"), how
