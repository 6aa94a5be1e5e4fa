"""Pitfalls of HTTP (2.4), each tried with the service client against a misbehaving server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from prebook.http import client
from prebook.http.client import ServiceClient
from prebook.messaging.errors import Undeliverable, Unreachable
from tests.listener import listen

ByteHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def open_client(handler: ByteHandler) -> AsyncIterator[ServiceClient]:
    """Open a client of a server that handles raw bytes by ``handler``."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has closed the connection
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    caller = ServiceClient({"provider": f"http://{host}:{port}"})
    try:
        yield caller
    finally:
        await caller.close()
        server.close()
        await asyncio.wait(connections, timeout=5)


async def fetch_status(caller: ServiceClient, timeout_s: float = 5.0) -> int:
    return (await caller.request("GET", "provider", "/", headers={}, timeout_s=timeout_s)).status


async def test_a_trickling_response_ends_at_the_total_timeout() -> None:
    """Pitfall 2.4.1: the timeout of the client library applies to each read and not to the call."""

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with open_client(trickle) as caller, asyncio.timeout(5):
        with pytest.raises(Unreachable) as failure:
            await fetch_status(caller, timeout_s=0.2)
    assert failure.value.reason == "timeout"


async def test_a_stale_kept_connection_is_retryable() -> None:
    """Pitfall 2.4.2: a call on a stale connection raises Unreachable at worst, and the next call succeeds."""
    closed = asyncio.Event()

    async def respond_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with open_client(respond_once) as caller, asyncio.timeout(10):
        assert await fetch_status(caller) == 200
        await closed.wait()
        statuses = [await _try_fetch_status(caller) for _ in range(3)]
    assert set(statuses) <= {200, None}
    assert 200 in statuses[:2]


async def test_cancelled_calls_leave_the_pool_usable() -> None:
    """Pitfall 2.4.3: cancelled calls may leak connections of the pool."""
    hold = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await hold.wait()
        return web.Response()

    async with listen(slow) as url, asyncio.timeout(20):
        caller = ServiceClient({"provider": url})
        for _ in range(3):
            request = (caller.request("GET", "provider", "/slow", headers={}, timeout_s=9.0) for _ in range(100))
            tasks = [asyncio.create_task(call) for call in request]
            await asyncio.wait(tasks, timeout=0.2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        hold.set()
        assert await asyncio.gather(*(fetch_status(caller) for _ in range(50))) == [200] * 50, (
            "50 of at most 200 connections are usable"
        )
        await caller.close()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pitfall 2.4.2: calls between services must not go through a proxy."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def respond(_: web.Request) -> web.Response:
        return web.Response()

    async with listen(respond) as url:
        caller = ServiceClient({"provider": url})
        assert await fetch_status(caller) == 200
        await caller.close()


async def test_a_response_above_the_size_limit_is_not_read_further() -> None:
    """A broken or forged server must not fill the memory of its caller."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()

    async with open_client(flood) as caller, asyncio.timeout(10):
        with pytest.raises(Undeliverable, match="longer than") as failure:
            await fetch_status(caller, timeout_s=9.0)
    assert failure.value.cause == "too_large"


async def test_an_exhausted_connection_pool_is_not_a_timeout_of_the_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "MAX_CONNECTIONS_PER_SERVICE", 1)
    hold = asyncio.Event()
    reached = asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        reached.set()
        await hold.wait()
        return web.Response()

    async with listen(slow) as url, asyncio.timeout(10):
        caller = ServiceClient({"provider": url})
        first = asyncio.create_task(fetch_status(caller))
        await reached.wait()
        with pytest.raises(Unreachable, match="connections to provider stayed taken") as failure:
            await fetch_status(caller, timeout_s=0.1)
        hold.set()
        assert await first == 200
        assert await fetch_status(caller) == 200, "the connection is free again"
        await caller.close()
    assert failure.value.reason == "unreachable"


async def _try_fetch_status(caller: ServiceClient) -> int | None:
    try:
        return await fetch_status(caller)
    except Unreachable:
        return None
