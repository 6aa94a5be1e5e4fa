"""HEAD is GET without a body, wherever GET is served, and OPTIONS asks for the methods of the server."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from litestar import delete, get
from litestar.response import Stream

from prebook.testing.http import create_ready_app
from tests.booking.booking_suite import BookingSuite
from tests.http.raw_server import serve_raw
from tests.world import MEMBERS, SuiteWorld

INTERNAL_PATHS = {"/metrics", "/inbox/m1"}


@get("/stream")
async def stream() -> Stream:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return Stream(parts())


@delete("/stream")
async def remove() -> None:
    return None


@asynccontextmanager
async def serving() -> AsyncIterator[httpx.AsyncClient]:
    """Serve an application by uvicorn, which drops a body that does not fit its Content-Length."""
    app = create_ready_app("stub", [stream])
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", log_config=None, lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield client
        server.should_exit = True
        await task


@pytest.mark.parametrize("service", MEMBERS)
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/schema/openapi.json", "/nowhere", "/inbox/m1"])
async def test_head_is_get_without_a_body(service: str, path: str) -> None:
    async with SuiteWorld() as world:
        internal = path in INTERNAL_PATHS
        client = world.http.internal_client(service) if internal else world.http.client(service)
        expected = await client.get(path)
        response = await client.head(path)

    assert (response.status_code, response.content) == (expected.status_code, b"")
    assert response.headers["content-type"] == expected.headers["content-type"]
    if path != "/metrics":  # its length changes from one scrape to the next
        assert response.headers["content-length"] == expected.headers["content-length"]


async def test_head_of_a_booking_is_served_and_of_its_collection_is_not() -> None:
    async with SuiteWorld() as world:
        client = world.http.client("booking")
        missing = await client.head("/v1/bookings/bk_none")
        collection = await client.head("/v1/bookings")

    assert (missing.status_code, collection.status_code) == (404, 405)
    assert collection.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("method", ["OPTIONS", "PUT"])
@pytest.mark.parametrize("path", ["/livez", "/metrics", "/v1/bookings/bk_1"])
async def test_allow_lists_head_beside_get(method: str, path: str) -> None:
    async with SuiteWorld() as world:
        http = world.http
        client = http.internal_client("booking") if path in INTERNAL_PATHS else http.client("booking")
        response = await client.request(method, path)

    assert {"GET", "HEAD"} <= set(response.headers["allow"].split(", "))


@pytest.mark.parametrize("path", ["/livez", "/stream"])
async def test_a_server_keeps_the_connection_after_head(path: str) -> None:
    async with serving() as client:
        expected = await client.get(path)
        responses = [await client.head(path) for _ in range(2)]

    assert {(response.status_code, response.content) for response in responses} == {(200, b"")}
    assert {response.headers.get("content-length") for response in responses} == {
        expected.headers.get("content-length")
    }


async def test_head_of_an_internal_endpoint_has_the_signature_of_get() -> None:
    async with BookingSuite().console() as client:
        response = await client.head("/v1/ledger?limit=1")

    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("target", [b"*", b"http://a", b"HTTP://a:80"])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_options_of_the_server_lists_the_methods_of_all_resources(target: bytes, version: bytes) -> None:
    """Source: RFC 9110, 9.3.7; RFC 9112, 3.2.4."""
    async with serve_raw([stream, remove]) as server:
        (response,) = await server.ask(b"OPTIONS %s HTTP/%s\r\nHost: a\r\n\r\n" % (target, version))
    assert (response.status, response.body) == (204, b"")
    assert response.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


async def test_options_of_a_path_or_a_query_is_not_that_of_the_server() -> None:
    async with serve_raw() as server:
        statuses = [
            (await server.ask(b"OPTIONS %s HTTP/1.1\r\nHost: a\r\n\r\n" % target))[0].status
            for target in (b"/*", b"http://a/", b"http://a?b", b"*?a", b"**")
        ]
    assert statuses == [404, 404, 404, 400, 400]
