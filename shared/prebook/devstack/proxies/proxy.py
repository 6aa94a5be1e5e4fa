"""A link between a service and what it uses: a TCP proxy of our own, which can be spoiled for a while."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from prebook.devstack.ports import LOOPBACK, allocate_ports
from prebook.devstack.proxies.connection import Direction, Impairment, ProxiedConnection, SocketStream
from prebook.devstack.supervisor.contract import ProxyFault, ProxyInfo, ProxyState

HostPort = tuple[str, int]
BOTH_DIRECTIONS = frozenset(Direction)
DOWNSTREAM_ONLY = frozenset({Direction.DOWNSTREAM})
IMPAIRMENTS: Mapping[ProxyState, Callable[[ProxyFault], Impairment]] = {
    ProxyState.SLOW: lambda wanted: Impairment(delay_s=wanted.delay_ms / 1000),
    ProxyState.CUT: lambda _: Impairment(),
    ProxyState.BLACK_HOLE: lambda _: Impairment(dropped=BOTH_DIRECTIONS),
    ProxyState.RESPONSE_LOSS: lambda _: Impairment(dropped=DOWNSTREAM_ONLY),
}


class FaultProxy:
    """``targets`` are where it leads: one place to connect to for each of them, all spoiled together."""

    def __init__(self, name: str, upstreams: Sequence[HostPort]) -> None:
        self.name = name
        self._upstreams = tuple(upstreams)
        self._reserved = [_reserve_port(port) for port in allocate_ports(len(self._upstreams))]
        self.addresses: tuple[HostPort, ...] = tuple(held.getsockname() for held in self._reserved)
        self._servers: list[asyncio.Server] = []
        self._connections: dict[ProxiedConnection, asyncio.Task[None]] = {}
        self._state = ProxyState.HEALTHY
        self._impairment = Impairment()
        self._healing: asyncio.Task[None] | None = None

    def info(self, duration_s: float | None = None) -> ProxyInfo:
        host, port = self.addresses[0]
        count = len(self._connections)
        at = f"{host}:{port}"
        return ProxyInfo(name=self.name, state=self._state, connections=count, address=at, duration_s=duration_s)

    async def open(self) -> None:
        """Where it does not listen yet. Known before it listens: whoever breaks this off leaves nothing behind."""
        for (host, port), target in list(zip(self.addresses, self._upstreams, strict=True))[len(self._servers) :]:
            serve = partial(self._serve, target)
            server = await asyncio.start_server(serve, host, port, reuse_port=True, start_serving=False)
            self._servers.append(server)
            await server.start_serving()

    async def inject(self, state: ProxyState, fault: ProxyFault) -> ProxyInfo:
        """In effect when this returns; it replaces what was the matter before, and undoes itself."""
        await self._cancel_healing()
        await self.heal()
        self._set_state(state, IMPAIRMENTS[state](fault))
        if state is ProxyState.CUT:
            self._stop_listening()
            await self._reset(list(self._connections))
        self._healing = asyncio.create_task(self._heal_after(fault.duration_s))
        return self.info(fault.duration_s)

    async def heal(self) -> None:
        """Whole again. A connection that lost something must not go on as if it had not."""
        await self.open()
        self._set_state(ProxyState.HEALTHY, Impairment())
        await self._reset([connection for connection in self._connections if connection.corrupted])

    async def close(self) -> None:
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

    async def _serve(self, upstream: HostPort, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ProxiedConnection(SocketStream(reader, writer), self._impairment)
        self._connections[connection] = task = asyncio.ensure_future(connection.run(*upstream))
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


def _reserve_port(port: int) -> socket.socket:
    """A socket that only keeps others off the port: while nobody listens, who connects is refused."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((LOOPBACK, port))
    return held


@asynccontextmanager
async def open_proxies(upstreams: Mapping[str, Sequence[HostPort]]) -> AsyncIterator[Mapping[str, FaultProxy]]:
    """A link for each name."""
    links = {name: FaultProxy(name, addresses) for name, addresses in upstreams.items()}
    try:
        for link in links.values():
            await link.open()
        yield links
    finally:
        for link in links.values():
            await link.close()
