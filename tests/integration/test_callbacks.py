"""Signed callbacks over real HTTP."""

import time

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.coupling.async_api import Callback
from prebook.patterns.signature import TOLERANCE_S, sign
from tests.conditions import eventually
from tests.integration.books import Books, every
from tests.integration.measures import counted
from tests.integration.riders import Riders, pure
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
ANSWER = "SELECT reply FROM pricing.inbox WHERE conversation_id = $1 AND flow = 'quote_fare'"


@pytest.fixture
async def answered(riders: Riders, books: Books) -> tuple[str, str, bytes]:
    """A booking that is confirmed, the id of pricing's answer to it, and the body that its callback had."""
    booking_id = await riders.prebook(pure(Coupling.ASYNC_API))
    assert every(await books.add_up([booking_id]), "confirmed")
    stored = msgspec.json.decode(await books.value(ANSWER, booking_id))
    return booking_id, stored["headers"]["ce-id"], msgspec.json.encode(Callback(stored["headers"], stored["body"]))


async def posted(suite: Suite, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(base_url=suite.where.urls["booking"], trust_env=False) as http:
        json = {"content-type": "application/json"}
        return await http.post("/callbacks/quote_fare", content=body, headers=json | headers)


async def test_a_callback_delivered_twice_has_one_effect(
    suite: Suite, riders: Riders, books: Books, answered: tuple[str, str, bytes]
) -> None:
    booking_id, answer_id, body = answered
    rows, view, before = await books.counts(), await riders.view(booking_id), await counted(suite, "duplicate")
    headers = sign(suite.where.callback_secrets, answer_id, int(time.time()), body)
    assert [(await posted(suite, body, headers)).status_code for _ in range(2)] == [204, 204]

    async def both_noticed() -> bool:
        return await counted(suite, "duplicate") == before + 2

    await eventually(both_noticed)
    assert (await books.counts(), await riders.view(booking_id)) == (rows, view)


async def test_nobody_without_the_secret_is_heard(suite: Suite, answered: tuple[str, str, bytes]) -> None:
    _, answer_id, body = answered
    secrets, now = suite.where.callback_secrets, int(time.time())
    forged = {
        "unsigned": {},
        "signed with another secret": sign(["another secret"], answer_id, now, body),
        "signed for another body": sign(secrets, answer_id, now, body + b" "),
        "too old": sign(secrets, answer_id, now - TOLERANCE_S - 5, body),
    }
    for how, headers in forged.items():
        response = await posted(suite, body, headers)
        assert (response.status_code, response.json()["code"]) == (401, "invalid_signature"), how
