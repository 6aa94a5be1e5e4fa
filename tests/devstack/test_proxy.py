"""Faults of the proxies over real sockets."""

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
from prebook.devstack.supervisor.control_api import create_control_app, serve_control_api, token_digest
from prebook.devstack.supervisor.supervisor import Supervisor
from tests.devstack.polling import wait_until

LONG_FAULT = ProxyFault(duration_s=60.0)
SILENCE_S = 0.3
"""Time without any byte that counts as silence; a byte through a healthy proxy takes a thousandth of it."""
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class EchoServer:
    """A server that returns every byte it receives.

    ``server_writers`` and ``client_writers`` are the two ends of its connections.
    """

    received: bytearray = field(default_factory=bytearray)
    server_writers: list[asyncio.StreamWriter] = field(default_factory=list)
    client_writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server_writers.append(writer)
        try:
            while data := await reader.read(65_536):
                self.received += data
                writer.write(data)
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    async def connect(self, proxy: FaultProxy) -> Stream:
        stream = await asyncio.open_connection(*proxy.addresses[0])
        self.client_writers.append(stream[1])
        return stream

    async def close(self) -> None:
        for writer in (*self.client_writers, *self.server_writers):
            writer.close()
            await asyncio.wait([asyncio.ensure_future(_wait_closed(writer))])


@asynccontextmanager
async def open_echo_proxy() -> AsyncIterator[tuple[FaultProxy, EchoServer]]:
    echo = EchoServer()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with open_proxies({"pricing-broker": [server.sockets[0].getsockname()]}) as proxies:
        yield proxies["pricing-broker"], echo
        await echo.close()
    server.close()


async def _wait_closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def exchange(stream: Stream, data: bytes) -> bytes:
    """Send ``data`` and return as many bytes of the reply."""
    reader, writer = stream
    writer.write(data)
    async with asyncio.timeout(10):
        return await reader.readexactly(len(data))


async def is_silent(stream: Stream) -> bool:
    """Return whether neither a byte nor the end of the stream arrives within ``SILENCE_S``."""
    _, waiting = await asyncio.wait({reading := asyncio.ensure_future(stream[0].read(1))}, timeout=SILENCE_S)
    reading.cancel()
    await asyncio.wait({reading})
    return bool(waiting)


async def is_reset(stream: Stream) -> bool:
    """Return whether the connection is reset, and not closed in order."""
    async with asyncio.timeout(10):
        try:
            await stream[0].read(1)
        except ConnectionResetError:
            return True
    return False


async def test_a_healthy_proxy_forwards_all_bytes_and_the_end_of_both_streams() -> None:
    async with open_echo_proxy() as (proxy, echo):
        reader, writer = await echo.connect(proxy)
        body = bytes(range(256)) * 8_192
        writer.write(body)
        writer.write_eof()
        async with asyncio.timeout(20):
            assert await reader.read() == body
        assert bytes(echo.received) == body
        await wait_until(lambda: proxy.info().connections == 0)


async def test_a_proxy_without_an_upstream_resets_connections() -> None:
    (port,) = allocate_ports(1)
    echo = EchoServer()
    async with open_proxies({"no-upstream": [("127.0.0.1", port)]}) as proxies:
        assert await is_reset(await echo.connect(proxies["no-upstream"]))
        await echo.close()


async def test_a_redirected_proxy_forwards_new_connections_elsewhere_and_keeps_the_open_ones() -> None:
    async with open_echo_proxy() as (proxy, old), open_echo_proxy() as (other, new):
        stream = await old.connect(proxy)
        assert await exchange(stream, b"one") == b"one"
        proxy.redirect(other.addresses[0])
        assert await exchange(await new.connect(proxy), b"two") == b"two"
        assert await exchange(stream, b"three") == b"three"
        assert (bytes(old.received), bytes(new.received)) == (b"onethree", b"two")


async def test_a_slow_proxy_delays_both_directions_without_limiting_the_rate() -> None:
    async with open_echo_proxy() as (proxy, echo):
        stream = await echo.connect(proxy)
        clock = asyncio.get_running_loop().time
        assert await exchange(stream, b"quick") == b"quick"
        await proxy.inject(ProxyState.SLOW, ProxyFault(duration_s=60.0, delay_ms=150.0))
        began = clock()
        reader, writer = stream
        for number in range(20):
            writer.write(bytes([number]))
            await writer.drain()
            await asyncio.sleep(0.005)
        assert await reader.readexactly(20) == bytes(range(20))
        assert 0.3 <= clock() - began < 20 * 0.15, "the delay applies once per direction, and not once per message"


async def test_a_cut_proxy_resets_and_refuses_connections_until_the_fault_ends() -> None:
    async with open_echo_proxy() as (proxy, echo):
        stream = await echo.connect(proxy)
        await exchange(stream, b"before")
        info = await proxy.inject(ProxyState.CUT, ProxyFault(duration_s=0.5))
        assert (info.state, info.connections, info.duration_s) == (ProxyState.CUT, 0, 0.5)
        assert await is_reset(stream)
        with pytest.raises(ConnectionRefusedError):
            await echo.connect(proxy)
        await wait_until(lambda: proxy.info().state is ProxyState.HEALTHY)
        assert await exchange(await echo.connect(proxy), b"after") == b"after"


async def test_a_black_hole_drops_bytes_and_ends_and_afterwards_resets_only_connections_that_lost_some() -> None:
    async with open_echo_proxy() as (proxy, echo):
        sending, idle, closed = [await echo.connect(proxy) for _ in range(3)]
        for stream in (sending, idle, closed):
            await exchange(stream, b"x")
        await proxy.inject(ProxyState.BLACK_HOLE, LONG_FAULT)
        sending[1].write(b"dropped")
        echo.server_writers[2].close()
        late = await echo.connect(proxy)
        late[1].write(b"dropped too")
        for stream in (sending, closed, late):
            assert await is_silent(stream)
        assert bytes(echo.received) == b"xxx"
        assert proxy.info().connections == 4
        await proxy.heal()
        for stream in (sending, closed, late):
            assert await is_reset(stream)
        assert await exchange(idle, b"still here") == b"still here"


async def test_response_loss_forwards_requests_and_drops_responses() -> None:
    async with open_echo_proxy() as (proxy, echo):
        stream = await echo.connect(proxy)
        await proxy.inject(ProxyState.RESPONSE_LOSS, LONG_FAULT)
        stream[1].write(b"asked")
        await wait_until(lambda: bytes(echo.received) == b"asked")
        echo.server_writers[0].close()
        assert await is_silent(stream)
        await proxy.heal()
        assert await is_reset(stream)


async def test_a_new_fault_replaces_the_previous_one() -> None:
    async with open_echo_proxy() as (proxy, echo):
        await proxy.inject(ProxyState.CUT, ProxyFault(duration_s=SILENCE_S))
        await proxy.inject(ProxyState.SLOW, ProxyFault(duration_s=60.0, delay_ms=1.0))
        assert await is_silent(await echo.connect(proxy))
        assert proxy.info().state is ProxyState.SLOW, "the end of the first fault does not end the second"


async def test_the_control_api_injects_and_lists_faults() -> None:
    (port,) = allocate_ports(1)
    async with (
        open_echo_proxy() as (proxy, _),
        serve_control_api(
            create_control_app(Supervisor([]), token_digest("token"), proxies={proxy.name: proxy}), "127.0.0.1", port
        ),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer token"}) as client,
    ):
        for state in ProxyState:
            async with client.post(
                f"/proxies/pricing-broker/{state}", json={"duration_s": 9.0, "delay_ms": 200}
            ) as response:
                assert response.status == (404 if state is ProxyState.HEALTHY else 200)
                assert proxy.info().state is state
        async with client.get("/proxies") as response:
            host, at = proxy.addresses[0]
            info = {"name": "pricing-broker", "state": "response_loss", "connections": 0, "duration_s": None}
            assert await response.json() == [{**info, "address": f"{host}:{at}"}]
