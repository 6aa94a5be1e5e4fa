"""Internal endpoints: a matrix of every route and every caller, from the route tables of the services."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Annotated, Any

import httpx
import pytest
from litestar import Router, get, post
from litestar.params import Body

from prebook.coupling.ports import HttpResponse
from prebook.flows import CONSOLE, FLOWS, PROCESSES, RIDER_PROFILE, receivers_from
from prebook.http.call_guard import allow_callers, guarded_routes
from prebook.http.signed_client import CallAuth
from prebook.messaging.clock import unix_s
from prebook.patterns.call_signature import (
    CALLER_HEADER,
    SIGNATURE_HEADER,
    SIGNED_AT_HEADER,
    CallRefusal,
    CallSigner,
    derive_secret,
)
from prebook.patterns.signature import TOLERANCE_S, key_of
from prebook.testing.configuration import signing_secret_of
from prebook.testing.http import create_ready_app
from tests.world import MEMBERS, SuiteWorld

CALLERS = (*PROCESSES, CONSOLE)
REFUSED = {401, 403}


def callers_of_flow(service: str, flow: str) -> set[str]:
    return {FLOWS[flow].caller} if FLOWS[flow].provider == service else set()


def providers_of_flow(service: str, flow: str) -> set[str]:
    return {FLOWS[flow].provider} if FLOWS[flow].caller == service else set()


EXPECTED_CALLERS: Mapping[str, Callable[[str, str], set[str]]] = {
    "/flows/{flow}": callers_of_flow,
    "/flows/{flow}/operations": callers_of_flow,
    "/callbacks/{flow}": providers_of_flow,
    "/operations/{request_id}": lambda service, _: {f.caller for f in FLOWS.values() if f.provider == service},
    "/inbox/{message_id}": lambda *_: {"operations", "console"},
    "/checked-bodies/{reference}": lambda service, _: set(receivers_from(service)),
    "/checked-bodies/extensions": lambda *_: {"operations"},
    "/v1/ledger": lambda *_: {"console"},
    "/v1/ledger/totals": lambda *_: {"console"},
    "/v1/ledger/clocks": lambda *_: {"console"},
    "/v1/ledger/trips": lambda *_: {"console"},
    "/v1/ledger/auctions": lambda *_: {"console"},
    "/v1/partners/{partner}/condition": lambda *_: {"console"},
    "/v1/partners/{partner}/probe": lambda *_: {"console"},
    "/v1/rides/{booking_id}": lambda *_: {"console"},
    "/v1/deliveries": lambda *_: {"console"},
    "/v1/conversations": lambda *_: {"console"},
    "/v1/conversations/{conversation_id}": lambda *_: {"console"},
    "/v1/dead-letters/conversations/{conversation_id}": lambda *_: {"console"},
    "/v1/back-pressure": lambda *_: {"console"},
    "/v1/default-plan": lambda *_: {"console"},
    "GET /v1/riders/{rider_id}/profile": lambda *_: {RIDER_PROFILE.reader, "console"},
    "PUT /v1/riders/{rider_id}/profile": lambda *_: {"console"},
}
"""Allowed callers of an internal route, given the service and a flow. A new route needs an entry, with the method if
that matters."""


IDS = dict.fromkeys(("request_id", "message_id", "booking_id", "rider_id", "partner", "conversation_id"), "m1")


def internal_routes(world: SuiteWorld, service: str) -> Iterator[tuple[str, str]]:
    """Yield method and path template of each route that the guard protects."""
    for router in world.services[service].internal_routes:
        if isinstance(router, Router):
            for route in router.routes:
                yield from ((method, route.path_format) for method in route.methods - {"OPTIONS"})


def paths(world: SuiteWorld, service: str) -> Iterator[tuple[str, str, set[str]]]:
    """Yield method, path and expected callers of each internal route, for every flow where a path names one."""
    for method, template in internal_routes(world, service):
        for flow in FLOWS if "{flow}" in template else (next(iter(FLOWS)),):
            callers = EXPECTED_CALLERS.get(template) or EXPECTED_CALLERS[f"{method} {template}"]
            yield method, template.format(flow=flow, reference="0" * 64, **IDS), callers(service, flow)


async def call(world: SuiteWorld, caller: str, method: str, service: str, path: str) -> HttpResponse:
    return await world.client_of(caller).request(method, service, path, headers={}, timeout_s=20)


@pytest.mark.parametrize("service", MEMBERS)
async def test_every_internal_route_allows_its_callers_only(service: str) -> None:
    wrong = []
    async with SuiteWorld() as world:
        for method, path, expected in paths(world, service):
            for caller in CALLERS:
                status = (await call(world, caller, method, service, path)).status
                is_right = status not in REFUSED if caller in expected else status in {*REFUSED, 404}
                wrong += [] if is_right else [f"{caller}: {method} {path} {status}"]
        assert not world.databases[service].tables.inbox
    assert wrong == []


@pytest.mark.parametrize("service", MEMBERS)
async def test_every_internal_route_refuses_unsigned_calls(service: str) -> None:
    async with SuiteWorld() as world:
        client = world.http.internal_client(service)
        called = [(method, path) for method, path, _ in paths(world, service)]
        responses = [await client.request(method, path) for method, path in called]

    assert called
    assert [r.json()["code"] for r in responses] == ["invalid_signature"] * len(called)
    assert {r.status_code for r in responses} == {401}


@pytest.mark.parametrize("service", MEMBERS)
async def test_the_public_listener_has_no_internal_route(service: str) -> None:
    async with SuiteWorld() as world:
        client = world.http.client(service)
        called = [(method, path) for method, path, _ in paths(world, service)]
        statuses = [(await client.request(method, path)).status_code for method, path in [*called, ("GET", "/metrics")]]
        auth = CallAuth(CONSOLE, (signing_secret_of(CONSOLE),), service)
        signed = [(await client.request(method, path, auth=auth)).status_code for method, path in called]

    assert {*statuses, *signed} == {404}


@pytest.mark.parametrize("service", MEMBERS)
async def test_the_internal_listener_has_no_public_route(service: str) -> None:
    async with SuiteWorld() as world:
        templates = [handler.paths for handler in world.services[service].routes]  # type: ignore[union-attr]  # handlers
        public = [path.replace("{booking_id:str}", "bk_1") for paths_ in templates for path in paths_]
        client = world.http.internal_client(service)
        assert {(await client.get(path)).status_code for path in public} <= {404}
    assert public or service != "booking"


async def test_a_flow_of_another_service_is_not_found() -> None:
    async with SuiteWorld() as world:
        response = await call(world, "booking", "POST", "notification", "/flows/quote_fare")
    assert response.status == 404


async def test_pricing_cannot_send_a_rider_a_notice() -> None:
    async with SuiteWorld() as world:
        response = await call(world, "pricing", "POST", "notification", "/flows/notify_rider")
    assert response.status == 403


async def test_a_known_caller_of_another_flow_is_refused_by_its_name() -> None:
    async with SuiteWorld() as world:
        response = await call(world, "pricing", "POST", "booking", "/callbacks/notify_rider")
    assert response.status == 403
    assert b"pricing may not call /callbacks/notify_rider" in response.body


@get("/secret", opt=allow_callers(lambda _: ("booking",)))
async def secret() -> str:
    return "secret"


@post("/secret", opt=allow_callers(lambda _: ("booking",)), request_max_body_size=100)
async def tell(data: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    return data


@get("/undeclared")
async def undeclared() -> str:
    return "secret"


def test_a_route_that_declares_no_callers_cannot_be_served() -> None:
    with pytest.raises(ValueError, match="/undeclared: declare who may call"):
        guarded_routes([secret, undeclared], dict, lambda _: None)


SECRET = "a secret of booking for this test"


def sign(method: str, target: str, body: bytes = b"", *, age_s: float = 0, secret: str = SECRET) -> dict[str, str]:
    return CallSigner("booking", (secret,)).sign("stub", method, target, {}, body, now_s=unix_s() - age_s)


@pytest.fixture
async def refused() -> list[CallRefusal]:
    return []


@pytest.fixture
async def client(refused: list[CallRefusal]) -> AsyncIterator[httpx.AsyncClient]:
    keys = {"booking": [key_of(derive_secret(SECRET, "stub"))], "pricing": []}
    app: Any = create_ready_app("stub", [guarded_routes([secret, tell], lambda: keys, refused.append)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://stub") as http:
        yield http


async def test_refusals_are_counted_by_reason(client: httpx.AsyncClient, refused: list[CallRefusal]) -> None:
    signed = sign("GET", "/secret?a=b%20c")
    attempts = {
        CallRefusal.UNSIGNED: {},
        CallRefusal.UNKNOWN_CALLER: {**signed, CALLER_HEADER: "nobody"},
        CallRefusal.STALE: sign("GET", "/secret?a=b%20c", age_s=TOLERANCE_S + 60),
        CallRefusal.WRONG_SIGNATURE: sign("GET", "/secret"),
    }
    responses = [await client.get("/secret?a=b%20c", headers=headers) for headers in attempts.values()]
    assert [r.status_code for r in responses] == [401] * len(attempts)
    assert {r.headers["content-type"] for r in responses} == {"application/problem+json"}
    assert refused == list(attempts)
    assert (await client.get("/secret?a=b%20c", headers=signed)).status_code == 200
    assert refused == list(attempts)


async def test_a_handler_reads_the_body_that_was_verified(client: httpx.AsyncClient) -> None:
    body = b'{"a":"b"}'
    headers = {**sign("POST", "/secret", body), "content-type": "application/json"}
    assert (await client.post("/secret", content=body, headers=headers)).json() == {"a": "b"}
    assert (await client.post("/secret", content=body + b" ", headers=headers)).status_code == 401


@pytest.mark.parametrize("content_type", [{}, {"content-type": "text/plain"}, {"content-type": "application/jsonp"}])
async def test_a_signed_body_that_is_not_json_is_refused(
    client: httpx.AsyncClient, content_type: dict[str, str]
) -> None:
    body = b'{"a":"b"}'
    response = await client.post("/secret", content=body, headers={**sign("POST", "/secret", body), **content_type})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_the_body_of_an_unsigned_call_is_not_read_and_a_large_one_is_refused(client: httpx.AsyncClient) -> None:
    async def never_read() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    assert (await client.post("/secret", content=never_read())).status_code == 401
    large = b'"%s"' % (b"a" * 200)
    headers = {**sign("POST", "/secret", large), "content-type": "application/json"}
    assert (await client.post("/secret", content=large, headers=headers)).status_code == 413


async def test_a_signed_caller_may_list_the_methods(client: httpx.AsyncClient) -> None:
    assert (await client.options("/secret")).status_code == 401
    response = await client.options("/secret", headers=sign("OPTIONS", "/secret"))
    assert (response.status_code, response.headers["allow"].split(", ")[0]) == (204, "GET")


@pytest.mark.parametrize("name", [CALLER_HEADER, SIGNED_AT_HEADER, SIGNATURE_HEADER])
async def test_two_lines_of_a_signature_are_refused(client: httpx.AsyncClient, name: str) -> None:
    signed = sign("GET", "/secret")
    response = await client.get("/secret", headers=[*signed.items(), (name, signed[name])])
    assert (response.status_code, response.json()["code"]) == (400, "repeated_header")
