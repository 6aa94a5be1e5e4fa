"""Inbound HTTP endpoints of a service, over the real application."""

from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from prebook.contracts.message import Unavailable
from prebook.contracts.plan import Coupling
from prebook.coupling.async_api import Callback
from prebook.flows import FLOWS
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.patterns.signature import sign
from prebook.patterns.trace import TraceContext
from tests.conditions import poll_until
from tests.messaging.examples import request
from tests.world import SECRETS, SuiteWorld

ASYNC = dict.fromkeys(FLOWS, Coupling.ASYNC_API)


def make_request(**changes: Any) -> Envelope:
    return request(expires_at=utc_now() + timedelta(seconds=30), **changes)


async def post(world: SuiteWorld, path: str, envelope: Envelope, service: str = "notification") -> httpx.Response:
    message = encode(envelope)
    return await world.http.client(service).post(path, content=message.body, headers=message.headers)


async def test_a_synchronous_call_gets_the_reply_in_the_response() -> None:
    async with SuiteWorld() as world:
        response = await post(world, "/flows/notify_rider", make_request())

    reply = decode(WireMessage(response.headers, response.content))
    assert response.status_code == 200
    assert reply.id == f"{make_request().id}.reply"


async def test_a_repeated_call_gets_the_stored_reply_and_has_no_second_effect() -> None:
    async with SuiteWorld() as world:
        first, repeated = [await post(world, "/flows/notify_rider", make_request()) for _ in range(2)]

    assert first.content == repeated.content
    assert world.observer.duplicates == 1


async def test_an_accepted_operation_has_its_reply_at_its_location() -> None:
    async with SuiteWorld() as world:
        envelope = make_request(plan=ASYNC)
        accepted = await post(world, "/flows/notify_rider/operations", envelope)
        client = world.http.client("notification")

        async def has_reply() -> bool:
            return (await client.get(accepted.headers["location"])).status_code == 200

        await poll_until(has_reply, interval_s=0.002)
        response = await client.get(accepted.headers["location"])

    assert accepted.status_code == 202
    assert accepted.headers["retry-after"] == "1"
    assert response.status_code == 200
    assert response.headers["ce-id"] == f"{envelope.id}.reply"


@pytest.mark.parametrize(
    ("path", "expected"), [("/flows/quote_fare", 404), ("/flows/nonsense", 404), ("/operations/a%20b", 404)]
)
async def test_an_unknown_flow_or_operation_is_not_found(path: str, expected: int) -> None:
    async with SuiteWorld() as world:
        client = world.http.client("notification")
        response = await (client.get(path) if path.startswith("/operations") else post(world, path, make_request()))

    assert response.status_code == expected
    assert response.headers["content-type"].startswith("application/problem+json")


async def test_a_malformed_request_is_refused_without_effect() -> None:
    async with SuiteWorld() as world:
        message = encode(make_request())
        response = await world.http.client("notification").post(
            "/flows/notify_rider", content=b"{}", headers=message.headers
        )

    assert response.status_code == 422
    assert response.json()["code"] == "wrong_schema"
    assert not world.databases["notification"].tables.inbox


async def test_repeated_tracestate_headers_are_one_list() -> None:
    message = encode(make_request(trace=TraceContext().child()))
    headers = [*message.headers.items(), ("tracestate", "a=1"), ("tracestate", "b=2")]
    async with SuiteWorld() as world:
        response = await world.http.client("notification").post(
            "/flows/notify_rider", content=message.body, headers=headers
        )

    assert response.headers["tracestate"] == "a=1,b=2"


def signed_callback(envelope: Envelope, secrets: tuple[str, ...] = SECRETS) -> tuple[dict[str, str], bytes]:
    message = encode(envelope)
    body = msgspec.json.encode(Callback(dict(message.headers), message.body.decode()))
    return sign(secrets, envelope.id, int(utc_now().timestamp()), body), body


@pytest.mark.parametrize("tamper", ["unsigned", "another secret", "altered"])
async def test_a_forged_callback_is_refused_without_effect(tamper: str) -> None:
    reply = make_request().reply_with(Unavailable(reason="refused"), source="notification", at=utc_now())
    headers, body = signed_callback(reply, ("a secret that is not active",) if tamper == "another secret" else SECRETS)
    async with SuiteWorld() as world:
        response = await world.http.client("booking").post(
            "/callbacks/notify_rider",
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
