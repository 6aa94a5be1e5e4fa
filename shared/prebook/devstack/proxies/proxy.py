"""A TCP proxy between a service and a server or another service, which injects network faults for a while."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.proxies.connection import Direction, Impairment, ProxiedConnection, SocketStream
from prebook.devstack.supervisor.contract import ProxyFault, ProxyInfo, ProxyState

HostPort = tuple[str, int]
ANY_PORTS: Mapping[str, Sequence[HostPort]] = {}
BOTH_DIRECTIONS = frozenset(Direction)
DOWNSTREAM_ONLY = frozenset({Direction.DOWNSTREAM})
IMPAIRMENTS: Mapping[ProxyState, Callable[[ProxyFault], Impairment]] = {
    ProxyState.SLOW: lambda fault: Impairment(delay_s=fault.delay_ms / 1000),
    ProxyState.CUT: lambda _: Impairment(),
    ProxyState.BLACK_HOLE: lambda _: Impairment(dropped=BOTH_DIRECTIONS),
    ProxyState.RESPONSE_LOSS: lambda _: Impairment(dropped=DOWNSTREAM_ONLY),
}
DEFAULT_PORTS = {"amqp": 5672, "postgresql+asyncpg": 5432}
"""Ports of servers whose URL names none."""


def host_port(url: str) -> HostPort:
    """Return the address of a server, given its URL."""
    parts = urlsplit(url)
    return parts.hostname or LOOPBACK, parts.port or DEFAULT_PORTS[parts.scheme]


class FaultProxy:
    """Proxy that listens on one port for each upstream; a fault applies to all of them."""

    def __init__(self, name: str, upstreams: Sequence[HostPort], listen: Sequence[HostPort] | None = None) -> None:
        """``listen``: address for each upstream; by default free ports of the loopback interface."""
        self.name = name
        self._upstreams = list(upstreams)
        if listen is None:
            listen = [(LOOPBACK, port) for port in allocate_ports(len(self._upstreams))]
        self._reserved = [_reserve_port(address) for address in listen]
        self.addresses: tuple[HostPort, ...] = tuple(held.getsockname() for held in self._reserved)
        self._servers: list[asyncio.Server] = []
        self._connections: dict[ProxiedConnection, asyncio.Task[None]] = {}
        self._state = ProxyState.HEALTHY
        self._impairment = Impairment()
        self._healing: asyncio.Task[None] | None = None

    def info(self, duration_s: float | None = None) -> ProxyInfo:
        """Return the state of the proxy for the control API. ``duration_s``: seconds of an injected fault, or None."""
        host, port = self.addresses[0]
        count = len(self._connections)
        at = f"{host}:{port}"
        return ProxyInfo(name=self.name, state=self._state, connections=count, address=at, duration_s=duration_s)

    async def open(self) -> None:
        """Listen on each port that is not open yet.

        A server is recorded before it starts, so that ``close`` finds it even if this call is cancelled.
        """
        for number, (host, port) in list(enumerate(self.addresses))[len(self._servers) :]:
            serve = partial(self._serve, number)
            server = await asyncio.start_server(serve, host, port, reuse_port=True, start_serving=False)
            self._servers.append(server)
            await server.start_serving()

    def redirect(self, upstream: HostPort) -> None:
        """Forward new connections to another upstream, in place of the first; open connections stay as they are."""
        self._upstreams[0] = upstream

    async def inject(self, state: ProxyState, fault: ProxyFault) -> ProxyInfo:
        """Put the proxy into a state, in place of the present one; it heals itself after the duration."""
        await self._cancel_healing()
        await self.heal()
        self._set_state(state, IMPAIRMENTS[state](fault))
        if state is ProxyState.CUT:
            self._stop_listening()
            await self._reset(list(self._connections))
        self._healing = asyncio.create_task(self._heal_after(fault.duration_s))
        return self.info(fault.duration_s)

    async def heal(self) -> None:
        """Forward everything again. Connections that lost bytes are reset: their streams are corrupted."""
        await self.open()
        self._set_state(ProxyState.HEALTHY, Impairment())
        await self._reset([connection for connection in self._connections if connection.corrupted])

    async def close(self) -> None:
        """Stop listening, reset all connections and return the reserved ports to the system."""
        await self._cancel_healing()
        self._stop_listening()
        await self._reset(list(self._connections))
        for held in self._reserved:
            held.close()

    def _set_state(self, state: ProxyState, impairment: Impairment) -> None:
        self._state = state
        self._impairment = impairment
        for connection in self._connections:
            connection.impairment = impairment

    def _stop_listening(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _serve(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ProxiedConnection(SocketStream(reader, writer), self._impairment)
        self._connections[connection] = task = asyncio.ensure_future(connection.run(*self._upstreams[number]))
        await asyncio.wait([task])
        self._connections.pop(connection, None)
        if task.cancelled() or task.exception():
            connection.reset()

    async def _reset(self, connections: Sequence[ProxiedConnection]) -> None:
        for connection in connections:
            connection.reset()
            self._connections[connection].cancel()
        if tasks := [self._connections.pop(connection) for connection in connections]:
            await asyncio.wait(tasks)

    async def _heal_after(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)
        await self.heal()

    async def _cancel_healing(self) -> None:
        task = self._healing
        self._healing = None
        if task:
            task.cancel()
            await asyncio.wait([task])


def _reserve_port(address: HostPort) -> socket.socket:
    """Bind a socket without listening: other programs cannot take the port, and connecting to it is refused."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(address)
    return held


@asynccontextmanager
async def open_proxies(
    upstreams: Mapping[str, Sequence[HostPort]], listen: Mapping[str, Sequence[HostPort]] = ANY_PORTS
) -> AsyncIterator[Mapping[str, FaultProxy]]:
    """Open a proxy for each name, until the block ends. ``listen``: addresses by name; by default free local ports."""
    proxies = {name: FaultProxy(name, addresses, listen.get(name)) for name, addresses in upstreams.items()}
    try:
        for proxy in proxies.values():
            await proxy.open()
        yield proxies
    finally:
        for proxy in proxies.values():
            await proxy.close()
