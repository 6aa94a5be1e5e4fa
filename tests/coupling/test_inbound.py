"""Inbound HTTP endpoints of a service, over the real application."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from prebook.contracts.message import Unavailable
from prebook.contracts.plan import Coupling
from prebook.coupling.async_api import Callback
from prebook.coupling.ports import HttpResponse
from prebook.flows import FLOWS
from prebook.messaging.clock import unix_s, utc_now
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.patterns.call_signature import CallSigner
from prebook.patterns.trace import TraceContext
from prebook.testing.configuration import signing_secret_of
from tests.conditions import poll_until
from tests.messaging.examples import request
from tests.world import SuiteWorld

NO_HEADERS: Mapping[str, str] = {}
ASYNC = dict.fromkeys(FLOWS, Coupling.ASYNC_API)


def make_request(**changes: Any) -> Envelope:
    return request(expires_at=utc_now() + timedelta(seconds=30), **changes)


async def post(world: SuiteWorld, path: str, envelope: Envelope) -> HttpResponse:
    """Call notification as booking does."""
    message = encode(envelope)
    return await call(world, "POST", path, headers=message.headers, body=message.body)


async def call(
    world: SuiteWorld, method: str, path: str, headers: Mapping[str, str] = NO_HEADERS, body: bytes = b""
) -> HttpResponse:
    client = world.client_of("booking")
    return await client.request(method, "notification", path, headers=headers, body=body, timeout_s=20)


async def test_a_synchronous_call_gets_the_reply_in_the_response() -> None:
    async with SuiteWorld() as world:
        response = await post(world, "/flows/notify_rider", make_request())

    reply = decode(WireMessage(response.headers, response.body))
    assert response.status == 200
    assert reply.id == f"{make_request().id}.reply"


async def test_a_repeated_call_gets_the_stored_reply_and_has_no_second_effect() -> None:
    async with SuiteWorld() as world:
        first, repeated = [await post(world, "/flows/notify_rider", make_request()) for _ in range(2)]

    assert first.body == repeated.body
    assert world.observer.duplicates == 1


async def test_an_accepted_operation_has_its_reply_at_its_location() -> None:
    async with SuiteWorld() as world:
        envelope = make_request(plan=ASYNC)
        accepted = await post(world, "/flows/notify_rider/operations", envelope)

        async def has_reply() -> bool:
            return (await call(world, "GET", accepted.headers["location"])).status == 200

        await poll_until(has_reply, interval_s=0.002)
        response = await call(world, "GET", accepted.headers["location"])

    assert accepted.status == 202
    assert accepted.headers["retry-after"] == "1"
    assert response.status == 200
    assert response.headers["ce-id"] == f"{envelope.id}.reply"


@pytest.mark.parametrize(
    ("path", "expected"), [("/flows/quote_fare", 404), ("/flows/nonsense", 404), ("/operations/a%20b", 404)]
)
async def test_an_unknown_flow_or_operation_is_not_found(path: str, expected: int) -> None:
    async with SuiteWorld() as world:
        is_operation = path.startswith("/operations")
        response = await (call(world, "GET", path) if is_operation else post(world, path, make_request()))

    assert response.status == expected
    assert response.headers["content-type"].startswith("application/problem+json")


async def test_a_malformed_request_is_refused_without_effect() -> None:
    async with SuiteWorld() as world:
        message = encode(make_request())
        response = await call(world, "POST", "/flows/notify_rider", headers=message.headers, body=b"{}")

    assert response.status == 422
    assert msgspec.json.decode(response.body)["code"] == "wrong_schema"
    assert not world.databases["notification"].tables.inbox


async def test_repeated_tracestate_headers_are_one_list() -> None:
    message = encode(make_request(trace=TraceContext().child()))
    signer = CallSigner("booking", (signing_secret_of("booking"),))
    path = "/flows/notify_rider"
    added = signer.sign("notification", "POST", path, message.headers, message.body, now_s=unix_s())
    headers = [*message.headers.items(), *added.items(), ("tracestate", "a=1"), ("tracestate", "b=2")]
    async with SuiteWorld() as world:
        response = await world.http.client("notification").post(path, content=message.body, headers=headers)

    assert response.headers["tracestate"] == "a=1,b=2"


CALLBACK_PATH = "/callbacks/notify_rider"


def signed_callback(envelope: Envelope, secret: str) -> tuple[dict[str, str], bytes]:
    message = encode(envelope)
    body = msgspec.json.encode(Callback(dict(message.headers), message.body.decode()))
    signer = CallSigner("notification", (secret,))
    return signer.sign("booking", "POST", CALLBACK_PATH, {}, body, now_s=unix_s()), body


@pytest.mark.parametrize("tamper", ["unsigned", "another secret", "altered"])
async def test_a_forged_callback_is_refused_without_effect(tamper: str) -> None:
    reply = make_request().reply_with(Unavailable(reason="refused"), source="notification", at=utc_now())
    active = signing_secret_of("notification")
    headers, body = signed_callback(reply, "a secret that is not active" if tamper == "another secret" else active)
    async with SuiteWorld() as world:
        response = await world.http.client("booking").post(
            CALLBACK_PATH,
            content=body + b" " if tamper == "altered" else body,
            headers={} if tamper == "unsigned" else headers,
        )

    assert response.status_code == 401
    assert not world.databases["booking"].tables.inbox


async def test_a_callback_delivered_twice_has_one_effect() -> None:
    async with SuiteWorld() as world:
        world.http.copies = 2
        booking = await world.book(ASYNC)
        ride = await world.wait_until_settled(booking)

    assert ride.notified_at is not None
    assert world.observer.duplicates > 0
    assert len(ride.history) == 4
