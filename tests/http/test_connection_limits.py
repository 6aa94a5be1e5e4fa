"""Limits of connections: their number, and the bytes and time of a request. Whatever breaks one ends its connection."""

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any

import psutil
import pytest
import structlog
from litestar import Request, get, post

from prebook.http.connections import (
    MAX_REFUSED_CONNECTIONS,
    MIN_CONNECTIONS,
    RESERVED_DESCRIPTORS,
    Connections,
    connection_limit,
)
from prebook.http.peers import network_check, peer_of
from tests.http.raw_server import HURRIED, LIMITS, serve_raw, wait_until

OK = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
MIB = 1024 * 1024
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: a\r\n"


@pytest.fixture
def uploads() -> list[int]:
    return []


def upload_to(uploads: list[int]) -> Any:
    @post("/upload")
    async def upload(request: Request[Any, Any, Any]) -> None:
        uploads.append(len(await request.body()))

    return upload


@get("/large")
async def large() -> bytes:
    return bytes(16 * MIB)


def head_of(size: int) -> bytes:
    """Return a request whose request line and headers have ``size`` bytes, without line ends of the former."""
    head = b"GET /livez HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n"
    return head % (b"a" * (size - len(b"/livez" + b"Host: a\r\n" + b"X: \r\n")))


@pytest.mark.parametrize("pieces", [1, 5])
async def test_a_head_has_a_maximum_size(pieces: int) -> None:
    async with serve_raw() as server:
        for size, status in ((LIMITS.max_head_bytes, 200), (LIMITS.max_head_bytes + 1, 431)):
            data = head_of(size)
            step = len(data) // pieces + 1
            segments = [data[start : start + step] for start in range(0, len(data), step)]
            (response,) = await server.ask(*segments)
            assert response.status == status
        assert response.code == "head_too_large"
        (second, refused) = await server.ask_until_closed(OK + head_of(LIMITS.max_head_bytes + 1))
    assert (second.status, refused.status) == (200, 431)


@pytest.mark.parametrize(
    "endless", [b"GET /livez HTTP/1.1\r\nHost: a\r\nX: ", b"GET /", b"GET /livez HTTP/1.1\r\nX", b""]
)
async def test_an_endless_head_is_refused_and_fills_no_memory(endless: bytes) -> None:
    process = psutil.Process()
    async with serve_raw(limits=replace(LIMITS, linger_s=0.3)) as server, server.connect() as client:
        before = process.memory_info().rss
        await client.send(endless)
        receiving = asyncio.create_task(client.receive_all())
        with suppress(ConnectionError):
            for _ in range(150 * 16):
                await client.send((b"a" if endless else b"\r\n") * 65536)
                if receiving.done():
                    break
        with suppress(ConnectionError):
            (response,) = await receiving
            assert (response.status, response.code) in ((431, "head_too_large"), (414, "target_too_long"))
        await wait_until(lambda: not server.open_connections)
        assert process.memory_info().rss - before < 20 * MIB
    assert sum(server.refused.values()) == 1


async def test_a_target_has_a_maximum_length() -> None:
    async with serve_raw() as server:
        target = b"/".ljust(LIMITS.max_target_bytes, b"a")
        (fitting,) = await server.ask(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        (refused,) = await server.ask_until_closed(b"GET %sa HTTP/1.1\r\nHost: a\r\n\r\n" % target)

    assert (fitting.status, refused.status, refused.code) == (404, 414, "target_too_long")


async def test_half_requests_end_in_time() -> None:
    async with serve_raw(limits=HURRIED) as server:
        halves = (b"GET", b"GET /livez HTTP/1.1\r\nHost: a\r\n", OK + b"GET /")
        responses = await asyncio.gather(*(server.ask_until_closed(half) for half in halves * 20))
        (good,) = await server.ask(OK)

    assert {tuple(one.status for one in each) for each in responses} == {(408,), (200, 408)}
    assert {each[-1].code for each in responses} == {"request_timeout"}
    assert good.status == 200
    assert server.refused == {"request_timeout": 60}


async def test_a_connection_without_a_request_is_closed_without_a_response() -> None:
    async with serve_raw(limits=HURRIED) as server:
        assert await server.ask_until_closed() == []
    assert not server.refused


async def test_a_connection_is_kept_alive_for_a_limited_time() -> None:
    async with serve_raw(keep_alive_s=0) as server:
        responses = await server.ask_until_closed(OK)
    assert [one.status for one in responses] == [200]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
)
async def test_a_body_that_does_not_end_in_time_is_refused(framing: bytes, uploads: list[int]) -> None:
    async with serve_raw([upload_to(uploads)], limits=HURRIED) as server:
        (response,) = await server.ask_until_closed(UPLOAD + framing)
        (unread, *rest) = await server.ask_until_closed(UPLOAD.replace(b"POST", b"PUT") + framing)

    assert (response.status, response.code, uploads) == (408, "request_timeout", [])
    assert (unread.status, unread.code, rest) == (405, "method_not_allowed", [])


async def test_the_time_of_a_process_that_was_stopped_does_not_count(uploads: list[int]) -> None:
    async with serve_raw([upload_to(uploads)], limits=HURRIED) as server, server.connect() as client:
        await client.send(UPLOAD + b"Content-Length: 4\r\n\r\n")
        await wait_until(lambda: server.open_connections)
        client._writer.write(b"full")
        time.sleep(2 * HURRIED.body_timeout_s)  # noqa: ASYNC251 - the process is to stand still
        (response,) = await client.receive()

    assert (response.status, uploads) == (201, [4])


async def test_a_body_has_a_maximum_size_however_it_is_sent(uploads: list[int]) -> None:
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
    async with serve_raw([upload_to(uploads)]) as server:
        for framing, body in (
            (b"Content-Length: 9999999999\r\n\r\n", bytes(MIB)),
            (b"Transfer-Encoding: chunked\r\n\r\n", chunk * 256),
        ):
            (response,) = await server.ask_until_closed(UPLOAD + framing, body + bytes(MIB))
            assert (response.status, response.code) == (413, "request_entity_too_large")

    assert not uploads


@pytest.mark.parametrize("flood", [b"X: " + b"a" * 65536, b"1;" + b"a" * 65536, b"1\r\na\r\n" * 65536])
async def test_trailers_and_chunk_extensions_are_limited(flood: bytes, uploads: list[int]) -> None:
    start = b"0\r\n" if flood.startswith(b"X") else b""
    async with serve_raw([upload_to(uploads)]) as server:
        (response,) = await server.ask_until_closed(
            UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + start + flood, *[flood[-60_000:]] * 32
        )

    assert response.status == 413
    assert not uploads


async def test_connections_above_the_limit_get_503_or_a_reset() -> None:
    async with serve_raw(limits=replace(LIMITS, max_connections=2, linger_s=600)) as server:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.connect()) for _ in range(2 + MAX_REFUSED_CONNECTIONS)]
            await wait_until(lambda: server.open_connections == len(clients))
            (refused,) = await clients[-1].receive_all()
            assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "too_many_connections", "1")
            async with server.connect() as one_more:
                await one_more.wait_closed()
                assert not one_more.parsed.responses
            await clients[0].send(OK)
            assert [one.status for one in await clients[0].receive()] == [200]
        await wait_until(lambda: not server.open_connections)
        (good,) = await server.ask(OK)
    assert good.status == 200


async def test_a_connection_that_is_kept_alive_makes_room_for_a_new_one() -> None:
    async with serve_raw(limits=replace(LIMITS, max_connections=2)) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connect()) for _ in range(2)]
        for client in clients:
            await client.send(OK)
            await client.receive()
            tick = server.registry.tick
            await wait_until(lambda: server.registry.tick > tick)  # noqa: B023 - awaited here
        (new,) = await server.ask(OK)
        assert new.status == 200
        await clients[0].wait_closed()
        await clients[1].send(OK)
        assert [one.status for one in await clients[1].receive()] == [200]
    assert not server.refused


ONE_PEER = replace(LIMITS, max_connections=20, max_peer_connections=4, linger_s=600)


async def test_one_peer_leaves_connections_for_others() -> None:
    async with serve_raw(limits=ONE_PEER) as server, AsyncExitStack() as stack:
        taken = [await stack.enter_async_context(server.connect()) for _ in range(4)]
        await wait_until(lambda: server.open_connections == len(taken))
        refused = await stack.enter_async_context(server.connect())
        (response,) = await refused.receive_all()
        assert (response.status, response.code) == (429, "too_many_connections_of_peer")
        assert response.headers["retry-after"] == "1"
        async with server.connect() as one_more:  # the refused one is open as well
            await one_more.wait_closed()
            assert not one_more.parsed.responses
        async with server.connect(source="127.0.0.2") as other:
            await other.send(OK)
            assert [one.status for one in await other.receive()] == [200]
        await taken[0].send(OK)
        assert [one.status for one in await taken[0].receive()] == [200]
    assert server.refused == {"too_many_connections_of_peer": 2}


async def test_a_peer_at_its_limit_gives_up_a_connection_of_its_own() -> None:
    limits = replace(ONE_PEER, max_peer_connections=1)
    async with serve_raw(limits=limits) as server, server.connect(source="127.0.0.2") as other, server.connect() as own:
        for client in (other, own):
            await client.send(OK)
            await client.receive()
        (response,) = await server.ask(OK)
        assert response.status == 200
        await own.wait_closed()
        await other.send(OK)
        assert [one.status for one in await other.receive()] == [200]
    assert not server.refused


async def test_a_trusted_proxy_may_have_all_connections() -> None:
    is_proxy = network_check(["127.0.0.0/31"])
    async with serve_raw(limits=ONE_PEER, is_proxy=is_proxy) as server, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connect()) for _ in range(20)]
        for client in clients:
            await client.send(OK)
            assert [one.status for one in await client.receive()] == [200]
    assert not server.refused


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1:a::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:b::2", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_peer_is_an_ipv4_address_or_an_ipv6_network(host: str, peer: str) -> None:
    assert peer_of(host) == peer


async def test_a_client_that_does_not_read_is_reset() -> None:
    async with serve_raw([large], limits=HURRIED) as server, server.connect(receive_buffer=4096) as client:
        await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_until(lambda: server.refused["response_not_read"])
        await wait_until(lambda: not server.open_connections)


@contextmanager
def exhausted_descriptors(spare: int) -> Iterator[None]:
    """Open files until only ``spare`` more can be opened."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, limits[0]), limits[1]))
    files: list[int] = []
    try:
        with suppress(OSError):
            while True:
                files.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(spare):
            os.close(files.pop())
        yield
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_server_without_descriptors_says_so_once_and_goes_on() -> None:
    with structlog.testing.capture_logs() as logs:
        async with serve_raw() as server:
            await server.ask(OK)
            await wait_until(lambda: not server.open_connections)
            with exhausted_descriptors(spare=1):
                async with server.connect() as client:
                    await client.send(OK)
                    await wait_until(lambda: server.refused["out_of_descriptors"] > 3)
            (good,) = await server.ask(OK)

    assert good.status == 200
    assert [(line["code"], line["count"]) for line in logs] == [("out_of_descriptors", 1)]


def test_one_line_tells_of_many_refusals() -> None:
    registry = Connections(LIMITS)
    with structlog.testing.capture_logs() as logs:
        for count in (1, 500, 0, 0, 3):
            for _ in range(count):
                registry.report("missing_host")
            registry._log_repeated()

    assert [line["count"] for line in logs] == [1, 1, 499, 1, 2]


@pytest.mark.parametrize(
    ("files", "expected"),
    [(1024, (1024 - RESERVED_DESCRIPTORS) // 2), (64, MIN_CONNECTIONS), (4096, 1000), (resource.RLIM_INFINITY, 1000)],
)
def test_the_limit_leaves_descriptors_for_others(files: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert connection_limit(1000, 2) == expected
