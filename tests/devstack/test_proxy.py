"""Fault proxies, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from prebook.devstack.ports import allocate_ports
from prebook.devstack.proxies.proxy import FaultProxy, open_proxies
from prebook.devstack.supervisor.contract import ProxyFault, ProxyState
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api
from prebook.devstack.supervisor.supervisor import Supervisor
from tests.devstack.polling import wait_until

LONG = ProxyFault(duration_s=60.0)
A_WHILE_S = 0.3
"""So long nothing is heard, where nothing is to be heard: a byte takes a thousandth of it."""
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Echo:
    """Says what it hears; ``heard`` is all of that. ``streams`` are its ends of the connections, ``callers`` ours."""

    heard: bytearray = field(default_factory=bytearray)
    streams: list[asyncio.StreamWriter] = field(default_factory=list)
    callers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.streams.append(writer)
        try:
            while data := await reader.read(65_536):
                self.heard += data
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    async def called(self, proxy: FaultProxy) -> Stream:
        stream = await asyncio.open_connection(*proxy.addresses[0])
        self.callers.append(stream[1])
        return stream

    async def end(self) -> None:
        for writer in (*self.callers, *self.streams):
            writer.close()
            await asyncio.wait([asyncio.ensure_future(_closed(writer))])


@asynccontextmanager
async def echo_proxy() -> AsyncIterator[tuple[FaultProxy, Echo]]:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with open_proxies({"pricing-broker": [server.sockets[0].getsockname()]}) as proxies:
        yield proxies["pricing-broker"], echo
        await echo.end()
    server.close()


async def _closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def says(stream: Stream, words: bytes) -> bytes:
    """What comes back."""
    reader, writer = stream
    writer.write(words)
    async with asyncio.timeout(10):
        return await reader.readexactly(len(words))


async def is_silent(stream: Stream) -> bool:
    """Neither a byte nor an end comes."""
    _, waiting = await asyncio.wait({reading := asyncio.ensure_future(stream[0].read(1))}, timeout=A_WHILE_S)
    reading.cancel()
    await asyncio.wait({reading})
    return bool(waiting)


async def is_reset(stream: Stream) -> bool:
    async with asyncio.timeout(10):
        try:
            await stream[0].read(1)
        except ConnectionResetError:
            return True
    return False


async def test_a_healthy_proxy_passes_everything_on_and_both_ends_too() -> None:
    async with echo_proxy() as (proxy, echo):
        reader, writer = await echo.called(proxy)
        body = bytes(range(256)) * 8_192
        writer.write(body)
        writer.write_eof()
        async with asyncio.timeout(20):
            assert await reader.read() == body
        assert bytes(echo.heard) == body
        await wait_until(lambda: proxy.info().connections == 0)


async def test_a_proxy_to_nobody_breaks_off() -> None:
    (port,) = allocate_ports(1)
    echo = Echo()
    async with open_proxies({"nobody": [("127.0.0.1", port)]}) as proxies:
        assert await is_reset(await echo.called(proxies["nobody"]))
        await echo.end()


async def test_a_slow_proxy_is_late_each_way_and_no_narrower() -> None:
    async with echo_proxy() as (proxy, echo):
        stream = await echo.called(proxy)
        clock = asyncio.get_running_loop().time
        assert await says(stream, b"quick") == b"quick"
        await proxy.inject(ProxyState.SLOW, ProxyFault(duration_s=60.0, delay_ms=150.0))
        began = clock()
        reader, writer = stream
        for number in range(20):
            writer.write(bytes([number]))
            await writer.drain()
            await asyncio.sleep(0.005)
        assert await reader.readexactly(20) == bytes(range(20))
        assert 0.3 <= clock() - began < 20 * 0.15, "twice the delay, and not once more for each message"


async def test_a_cut_proxy_resets_and_refuses_and_comes_back_by_itself() -> None:
    async with echo_proxy() as (proxy, echo):
        stream = await echo.called(proxy)
        await says(stream, b"before")
        info = await proxy.inject(ProxyState.CUT, ProxyFault(duration_s=0.5))
        assert (info.state, info.connections, info.duration_s) == (ProxyState.CUT, 0, 0.5)
        assert await is_reset(stream)
        with pytest.raises(ConnectionRefusedError):
            await echo.called(proxy)
        await wait_until(lambda: proxy.info().state is ProxyState.HEALTHY)
        assert await says(await echo.called(proxy), b"after") == b"after"


async def test_a_black_hole_swallows_bytes_and_ends_and_resets_afterwards_only_who_lost_something() -> None:
    async with echo_proxy() as (proxy, echo):
        speaking, quiet, left = [await echo.called(proxy) for _ in range(3)]
        for stream in (speaking, quiet, left):
            await says(stream, b"x")
        await proxy.inject(ProxyState.BLACK_HOLE, LONG)
        speaking[1].write(b"unheard")
        echo.streams[2].close()
        late = await echo.called(proxy)
        late[1].write(b"unheard too")
        for stream in (speaking, left, late):
            assert await is_silent(stream)
        assert bytes(echo.heard) == b"xxx"
        assert proxy.info().connections == 4
        await proxy.heal()
        for stream in (speaking, left, late):
            assert await is_reset(stream)
        assert await says(quiet, b"still here") == b"still here"


async def test_a_proxy_that_loses_responses_lets_requests_through_and_no_answers() -> None:
    async with echo_proxy() as (proxy, echo):
        stream = await echo.called(proxy)
        await proxy.inject(ProxyState.RESPONSE_LOSS, LONG)
        stream[1].write(b"asked")
        await wait_until(lambda: bytes(echo.heard) == b"asked")
        echo.streams[0].close()
        assert await is_silent(stream)
        await proxy.heal()
        assert await is_reset(stream)


async def test_a_fault_replaces_the_one_before() -> None:
    async with echo_proxy() as (proxy, echo):
        await proxy.inject(ProxyState.CUT, ProxyFault(duration_s=A_WHILE_S))
        await proxy.inject(ProxyState.SLOW, ProxyFault(duration_s=60.0, delay_ms=1.0))
        assert await is_silent(await echo.called(proxy))
        assert proxy.info().state is ProxyState.SLOW, "the end of the cut is not the end of what came after it"


async def test_faults_are_injected_by_the_control_api() -> None:
    (port,) = allocate_ports(1)
    async with (
        echo_proxy() as (proxy, _),
        serve_control_api(create_control_app(Supervisor([]), "token", proxies={proxy.name: proxy}), "127.0.0.1", port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer token"}) as client,
    ):
        for state in ProxyState:
            async with client.post(
                f"/proxies/pricing-broker/{state}", json={"duration_s": 9.0, "delay_ms": 200}
            ) as answer:
                assert answer.status == (404 if state is ProxyState.HEALTHY else 200)
                assert proxy.info().state is state
        async with client.get("/proxies") as answer:
            host, at = proxy.addresses[0]
            info = {"name": "pricing-broker", "state": "response_loss", "connections": 0, "duration_s": None}
            assert await answer.json() == [{**info, "address": f"{host}:{at}"}]
