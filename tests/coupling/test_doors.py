"""The internal HTTP doors, over a real application."""

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
from tests.conditions import eventually
from tests.messaging.examples import request
from tests.world import SECRETS, SuiteWorld

ASYNC = dict.fromkeys(FLOWS, Coupling.ASYNC_API)


def asked(**changes: Any) -> Envelope:
    return request(expires_at=utc_now() + timedelta(seconds=30), **changes)


async def posted(world: SuiteWorld, path: str, envelope: Envelope, service: str = "notification") -> httpx.Response:
    wire = encode(envelope)
    return await world.http.client(service).post(path, content=wire.body, headers=wire.headers)


async def test_a_held_call_is_answered_in_the_response() -> None:
    async with SuiteWorld() as world:
        response = await posted(world, "/flows/notify_rider", asked())

    answer = decode(WireMessage(response.headers, response.content))
    assert response.status_code == 200
    assert answer.id == f"{asked().id}.reply"


async def test_a_repeated_call_gets_the_stored_answer_and_has_no_second_effect() -> None:
    async with SuiteWorld() as world:
        first, again = [await posted(world, "/flows/notify_rider", asked()) for _ in range(2)]

    assert first.content == again.content
    assert world.observer.duplicates == 1


async def test_an_accepted_operation_is_answered_at_its_location() -> None:
    async with SuiteWorld() as world:
        envelope = asked(plan=ASYNC)
        accepted = await posted(world, "/flows/notify_rider/operations", envelope)
        client = world.http.client("notification")

        async def answered() -> bool:
            return (await client.get(accepted.headers["location"])).status_code == 200

        await eventually(answered, every_s=0.002)
        response = await client.get(accepted.headers["location"])

    assert accepted.status_code == 202
    assert accepted.headers["retry-after"] == "1"
    assert response.status_code == 200
    assert response.headers["ce-id"] == f"{envelope.id}.reply"


@pytest.mark.parametrize(
    ("path", "expected"), [("/flows/quote_fare", 404), ("/flows/nonsense", 404), ("/operations/a%20b", 404)]
)
async def test_a_door_that_is_not_there(path: str, expected: int) -> None:
    async with SuiteWorld() as world:
        client = world.http.client("notification")
        response = await (client.get(path) if path.startswith("/operations") else posted(world, path, asked()))

    assert response.status_code == expected
    assert response.headers["content-type"].startswith("application/problem+json")


async def test_a_malformed_request_is_refused_and_leaves_nothing() -> None:
    async with SuiteWorld() as world:
        wire = encode(asked())
        response = await world.http.client("notification").post(
            "/flows/notify_rider", content=b"{}", headers=wire.headers
        )

    assert response.status_code == 422
    assert response.json()["code"] == "wrong_schema"
    assert not world.databases["notification"].tables.inbox


def called_back(envelope: Envelope, secrets: tuple[str, ...] = SECRETS) -> tuple[dict[str, str], bytes]:
    wire = encode(envelope)
    body = msgspec.json.encode(Callback(dict(wire.headers), wire.body.decode()))
    return sign(secrets, envelope.id, int(utc_now().timestamp()), body), body


@pytest.mark.parametrize("tamper", ["unsigned", "another secret", "altered"])
async def test_a_forged_callback_is_refused_and_leaves_nothing(tamper: str) -> None:
    answer = asked().reply_with(Unavailable(reason="refused"), source="notification", at=utc_now())
    headers, body = called_back(answer, ("stolen",) if tamper == "another secret" else SECRETS)
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
