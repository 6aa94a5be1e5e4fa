"""Pitfalls of HTTP (2.4) that our client meets, against servers that behave badly."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from prebook.http import client
from prebook.http.client import ServiceClient
from prebook.messaging.errors import Undeliverable, Unreachable
from tests.listener import target

Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@asynccontextmanager
async def calling(served: Served) -> AsyncIterator[ServiceClient]:
    """A caller, and a server of bytes that knows no HTTP."""
    at_work: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await served(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the caller has hung up
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_work.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    caller = ServiceClient({"provider": f"http://{host}:{port}"})
    try:
        yield caller
    finally:
        await caller.close()
        server.close()
        await asyncio.wait(at_work, timeout=5)


async def asked(caller: ServiceClient, timeout_s: float = 5.0) -> int:
    return (await caller.request("GET", "provider", "/", headers={}, timeout_s=timeout_s)).status


async def test_a_server_that_trickles_is_not_waited_for_longer_than_said() -> None:
    """Pitfall 2.4.1: the client times each read and not the whole."""

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with calling(trickle) as caller, asyncio.timeout(5):
        with pytest.raises(Unreachable) as failure:
            await asked(caller, timeout_s=0.2)
    assert failure.value.reason == "timeout"


async def test_a_kept_connection_that_the_server_has_closed_is_worth_another_try() -> None:
    """Pitfall 2.4.2: whatever comes of the stale one, it is Unreachable at worst, and the next call goes through."""
    closed = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with calling(once) as caller, asyncio.timeout(10):
        assert await asked(caller) == 200
        await closed.wait()
        statuses = [await _ended(caller) for _ in range(3)]
    assert set(statuses) <= {200, None}
    assert 200 in statuses[:2]


async def test_cancelled_calls_leave_the_pool_usable() -> None:
    """Pitfall 2.4.3."""
    hold = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        if request.path == "/slow":
            await hold.wait()
        return web.Response()

    async with target(slow) as url, asyncio.timeout(20):
        caller = ServiceClient({"provider": url})
        for _ in range(3):
            request = (caller.request("GET", "provider", "/slow", headers={}, timeout_s=9.0) for _ in range(100))
            tasks = [asyncio.create_task(call) for call in request]
            await asyncio.wait(tasks, timeout=0.2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        hold.set()
        assert await asyncio.gather(*(asked(caller) for _ in range(50))) == [200] * 50, "of 200 that there may be"
        await caller.close()


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pitfall 2.4.2: calls between our services are nobody else's."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def here(_: web.Request) -> web.Response:
        return web.Response()

    async with target(here) as url:
        caller = ServiceClient({"provider": url})
        assert await asked(caller) == 200
        await caller.close()


async def test_no_more_of_a_response_is_read_than_there_may_be() -> None:
    """Who is called may be broken, or somebody else: what it sends must not fill our memory."""

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()

    async with calling(flood) as caller, asyncio.timeout(10):
        with pytest.raises(Undeliverable, match="longer than") as failure:
            await asked(caller, timeout_s=9.0)
    assert failure.value.cause == "too_large"


async def test_a_wait_for_a_connection_of_ours_is_not_the_silence_of_who_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "MAX_CONNECTIONS_PER_SERVICE", 1)
    hold, reached = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        reached.set()
        await hold.wait()
        return web.Response()

    async with target(slow) as url, asyncio.timeout(10):
        caller = ServiceClient({"provider": url})
        first = asyncio.create_task(asked(caller))
        await reached.wait()
        with pytest.raises(Unreachable, match="connections to provider stayed taken") as failure:
            await asked(caller, timeout_s=0.1)
        hold.set()
        assert await first == 200
        assert await asked(caller) == 200, "the place is free again"
        await caller.close()
    assert failure.value.reason == "unreachable"


async def _ended(caller: ServiceClient) -> int | None:
    try:
        return await asked(caller)
    except Unreachable:
        return None
