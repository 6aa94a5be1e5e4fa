"""Inbound HTTP endpoints of a service, over the real application."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from prebook.asyncio_tools import OwnedTasks
from prebook.contracts.matching import FindDriver, NoDriverFound
from prebook.contracts.message import Unavailable
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import Place, Stop, VehicleClass
from prebook.coupling.inbound import InboundGateway
from prebook.coupling.ports import HttpResponse
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.flows import FLOWS
from prebook.http.client import JSON_HEADERS
from prebook.messaging.clock import unix_s, utc_now
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import ReplyTimeout
from prebook.messaging.headers import REPEATED_HEADER
from prebook.messaging.message_document import MessageDocument
from prebook.messaging.outbox.store import LOCAL_ROUTE
from prebook.patterns.call_signature import CallSigner
from prebook.patterns.trace import TraceContext
from prebook.testing.configuration import signing_secret_of
from prebook.testing.memory import MemoryDatabase
from tests.conditions import poll_until, wait_until
from tests.messaging.examples import request
from tests.world import SuiteWorld

NO_HEADERS: Mapping[str, str] = {}
ASYNC = dict.fromkeys(FLOWS, Coupling.ASYNC_API)


def make_request(**changes: Any) -> Envelope:
    return request(expires_at=utc_now() + timedelta(seconds=30), **changes)


async def post(world: SuiteWorld, path: str, envelope: Envelope, service: str = "notification") -> HttpResponse:
    """Call ``service`` as booking does."""
    message = encode(envelope)
    return await call(world, "POST", path, headers=message.headers, body=message.body, service=service)


async def call(
    world: SuiteWorld,
    method: str,
    path: str,
    headers: Mapping[str, str] = NO_HEADERS,
    body: bytes = b"",
    *,
    service: str = "notification",
) -> HttpResponse:
    client = world.client_of("booking")
    return await client.request(method, service, path, headers=headers, body=body, timeout_s=20)


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


def driver_request(**changes: Any) -> Envelope:
    """A request for a driver, which matching holds until the fleets have replied."""
    in_two_days = utc_now() + timedelta(days=2)
    stop = Stop(place=Place(lat=52.5, lon=13.4))
    body = FindDriver(
        pickup=stop, pickup_at=in_two_days, ride_s=1200, vehicle_class=VehicleClass.STANDARD, passengers=1
    )
    plan = {**dict.fromkeys(FLOWS, Coupling.ONE_WAY), "find_driver": Coupling.SYNC_API}
    return make_request(id="b1.find_driver", flow="find_driver", body=body, plan=plan, **changes)


async def test_a_held_call_gets_a_reply_that_another_replica_has_stored() -> None:
    async with SuiteWorld() as world, asyncio.timeout(15):
        world.down.add("fleets")
        envelope = driver_request()
        held = asyncio.create_task(post(world, "/flows/find_driver", envelope, "matching"))
        database = world.databases["matching"]
        await wait_until(lambda: envelope.id in database.tables.pending_requests)
        none = NoDriverFound(fleets_asked=3, reason="no fleet has a driver")
        async with database.begin() as work:
            await work.record_reply(envelope.reply_with(none, source="matching", at=utc_now()))
        response = await held

    assert response.status == 200
    assert decode(WireMessage(response.headers, response.body)).body == none


async def test_a_call_is_held_until_its_request_expires_at_most() -> None:
    async with SuiteWorld() as world, asyncio.timeout(15):
        world.down.add("fleets")
        envelope = replace(driver_request(), expires_at=utc_now() + timedelta(seconds=0.3))
        response = await post(world, "/flows/find_driver", envelope, "matching")

    assert (response.status, msgspec.json.decode(response.body)["code"]) == (504, "reply_timeout")


async def test_a_call_is_held_for_its_timeout_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handling the request takes a part of it, and the wait for the reply has the rest."""
    timeouts: list[float] = []
    wait = asyncio.wait

    async def record_timeout(tasks: Any, *, timeout: float, **options: Any) -> Any:  # noqa: ASYNC109
        timeouts.append(timeout)
        return await wait(tasks, timeout=timeout, **options)

    class Gateway:
        async def process_or_recover(self, _: Envelope) -> None:
            await asyncio.sleep(0.1)

    gateway: Any = Gateway()
    inbound = InboundGateway(gateway, MemoryDatabase(None).begin, ReplyWaiters(), OwnedTasks())
    monkeypatch.setattr("prebook.coupling.inbound.asyncio.wait", record_timeout)
    with pytest.raises(ReplyTimeout):
        await inbound.call(make_request(), 0.3)
    assert timeouts[0] == pytest.approx(0.3)
    assert timeouts[1] < 0.25


async def test_a_call_that_has_expired_on_arrival_is_refused_at_once() -> None:
    async with SuiteWorld() as world:
        expired = replace(make_request(), expires_at=utc_now() - timedelta(seconds=1))
        response = await post(world, "/flows/notify_rider", expired)
        inbox = world.databases["notification"].tables.inbox

    assert (response.status, msgspec.json.decode(response.body)["code"]) == (422, "request_expired")
    assert not inbox


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


@pytest.mark.parametrize(
    "body", [b"{}", b"{", b'{"headers":{},"body":"\xff"}', b'{"headers":{"a":"\xed\xa0\x80"},"body":""}', b"[" * 50_000]
)
async def test_a_malformed_callback_is_refused_without_effect(body: bytes) -> None:
    async with SuiteWorld() as world:
        client = world.client_of("notification")
        response = await client.request(
            "POST", "booking", "/callbacks/notify_rider", headers=NO_HEADERS, body=body, timeout_s=20
        )

    assert response.status == 422, response.body
    assert not world.databases["booking"].tables.inbox


async def test_repeated_tracestate_headers_are_one_list() -> None:
    message = encode(make_request(trace=TraceContext().child()))
    signer = CallSigner("booking", (signing_secret_of("booking"),))
    path = "/flows/notify_rider"
    added = signer.sign("notification", "POST", path, message.headers, message.body, now_s=unix_s())
    headers = [
        *JSON_HEADERS.items(),
        *message.headers.items(),
        *added.items(),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
    ]
    async with SuiteWorld() as world:
        response = await world.http.internal_client("notification").post(path, content=message.body, headers=headers)

    assert response.headers["tracestate"] == "a=1,b=2"


CALLBACK_PATH = "/callbacks/notify_rider"


def signed_callback(envelope: Envelope, secret: str) -> tuple[dict[str, str], bytes]:
    message = encode(envelope)
    body = msgspec.json.encode(MessageDocument.of(message))
    signer = CallSigner("notification", (secret,))
    return signer.sign("booking", "POST", CALLBACK_PATH, {}, body, now_s=unix_s()), body


@pytest.mark.parametrize("tamper", ["unsigned", "another secret", "altered"])
async def test_a_forged_callback_is_refused_without_effect(tamper: str) -> None:
    reply = make_request().reply_with(Unavailable(reason="refused"), source="notification", at=utc_now())
    active = signing_secret_of("notification")
    headers, body = signed_callback(reply, "a secret that is not active" if tamper == "another secret" else active)
    async with SuiteWorld() as world:
        response = await world.http.internal_client("booking").post(
            CALLBACK_PATH,
            content=body + b" " if tamper == "altered" else body,
            headers={} if tamper == "unsigned" else headers,
        )

    assert response.status_code == 401
    assert not world.databases["booking"].tables.inbox


@pytest.mark.parametrize("repeated", [False, True])
async def test_a_repeated_callback_is_stored_before_it_is_handled(repeated: bool) -> None:
    """The first one may have ended the process: only what is stored has its attempts counted."""
    reply = make_request().reply_with(Unavailable(reason="refused"), source="notification", at=utc_now())
    sent = replace(reply, extra={REPEATED_HEADER: "1"} if repeated else {})
    async with SuiteWorld() as world:
        headers, body = signed_callback(sent, signing_secret_of("notification"))
        headers["content-type"] = "application/json"
        await world.http.internal_client("booking").post(CALLBACK_PATH, content=body, headers=headers)
        rows = [row for row in world.databases["booking"].tables.outbox.values() if row.message.route == LOCAL_ROUTE]

    assert [row.message.envelope for row in rows] == ([reply] if repeated else [])


async def test_a_callback_delivered_twice_has_one_effect() -> None:
    async with SuiteWorld() as world:
        world.http.copies = 2
        booking = await world.book(ASYNC)
        ride = await world.wait_until_settled(booking)

    assert ride.notified_at is not None
    assert world.observer.duplicates > 0
    assert len(ride.history) == 4
