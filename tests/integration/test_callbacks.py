"""Signed callbacks of the asynchronous API over real HTTP."""

import time

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.messaging.message_document import MessageDocument
from prebook.patterns.call_signature import CallSigner
from prebook.patterns.signature import TOLERANCE_S, generate_secret
from tests.conditions import poll_until
from tests.integration.database_probe import DatabaseProbe, all_in_state
from tests.integration.metrics import read_counter, read_message_counter
from tests.integration.rider_client import RiderClient, uniform_plan
from tests.integration.suite import Suite

pytestmark = pytest.mark.real
REPLY = "SELECT reply FROM pricing.inbox WHERE conversation_id = $1 AND flow = 'quote_fare'"


@pytest.fixture
async def delivered_callback(rider: RiderClient, database: DatabaseProbe) -> tuple[str, bytes]:
    """Book a ride; return its id, and the body of the callback with pricing's reply to it."""
    booking_id = await rider.prebook(uniform_plan(Coupling.ASYNC_API))
    assert all_in_state(await database.verify_bookings([booking_id]), "confirmed")
    stored = msgspec.json.decode(await database.fetch_value(REPLY, booking_id))
    return booking_id, msgspec.json.encode(MessageDocument(stored["headers"], stored["body"]))


CALLBACK_PATH = "/callbacks/quote_fare"


def sign(suite: Suite, body: bytes, *, caller: str = "pricing", secret: str = "", age_s: float = 0) -> dict[str, str]:
    """Return the headers of a callback to booking, signed ``age_s`` seconds ago; by the caller's own secret if none."""
    secrets = (secret,) if secret else suite.state.signing_secrets[caller]
    return CallSigner(caller, secrets).sign("booking", "POST", CALLBACK_PATH, {}, body, now_s=time.time() - age_s)


async def post_callback(suite: Suite, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(base_url=suite.state.internal_urls["booking"], trust_env=False) as http:
        content_type = {"content-type": "application/json"}
        return await http.post(CALLBACK_PATH, content=body, headers=content_type | headers)


async def test_a_callback_delivered_twice_has_one_effect(
    suite: Suite, rider: RiderClient, database: DatabaseProbe, delivered_callback: tuple[str, bytes]
) -> None:
    booking_id, body = delivered_callback
    rows, view, before = (
        await database.count_rows(),
        await rider.fetch_view(booking_id),
        await read_message_counter(suite, "duplicate"),
    )
    headers = sign(suite, body)
    assert [(await post_callback(suite, body, headers)).status_code for _ in range(2)] == [204, 204]

    async def both_ignored() -> bool:
        return await read_message_counter(suite, "duplicate") == before + 2

    await poll_until(both_ignored)
    assert (await database.count_rows(), await rider.fetch_view(booking_id)) == (rows, view)


async def test_a_callback_without_a_valid_signature_is_refused(
    suite: Suite, delivered_callback: tuple[str, bytes]
) -> None:
    _, body = delivered_callback
    unauthentic = (401, "invalid_signature")
    forged = {
        "unsigned": ({}, unauthentic),
        "signed with another secret": (sign(suite, body, secret=generate_secret()), unauthentic),
        "signed for another body": (sign(suite, body + b" "), unauthentic),
        "too old": (sign(suite, body, age_s=TOLERANCE_S + 60), unauthentic),
        "signed by a service of another flow": (sign(suite, body, caller="notification"), (403, "caller_not_allowed")),
    }
    refused_before = await read_counter(suite, "prebook_http_calls_refused_total", "booking")
    for case, (headers, expected) in forged.items():
        response = await post_callback(suite, body, headers)
        assert (response.status_code, response.json()["code"]) == expected, case
    refused = await read_counter(suite, "prebook_http_calls_refused_total", "booking")
    assert refused == refused_before + len(forged)
