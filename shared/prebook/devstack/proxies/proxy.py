"""A link between a service and what it uses: a TCP proxy of our own, which can be spoiled for a while."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from prebook.devstack.ports import LOOPBACK, free_ports
from prebook.devstack.proxies.connection import Connection, Side, Towards, Weather
from prebook.devstack.supervisor.contract import LinkInfo, LinkState, Spoil

Address = tuple[str, int]
Served = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
EITHER_WAY, BACK = frozenset(Towards), frozenset({Towards.NEAR})
WEATHERS: Mapping[LinkState, Callable[[Spoil], Weather]] = {
    LinkState.SLOW: lambda wanted: Weather(delay_s=wanted.delay_ms / 1000),
    LinkState.CUT: lambda _: Weather(),
    LinkState.BLACK_HOLE: lambda _: Weather(swallowed=EITHER_WAY),
    LinkState.HALF_OPEN: lambda _: Weather(swallowed=BACK),
}


class Link:
    """``targets`` are where it leads: one place to connect to for each of them, all spoiled together."""

    def __init__(self, name: str, targets: Sequence[Address]) -> None:
        self.name, self._targets = name, tuple(targets)
        self._held = [_held(port) for port in free_ports(len(self._targets))]
        self.addresses: tuple[Address, ...] = tuple(held.getsockname() for held in self._held)
        self._servers: list[asyncio.Server] = []
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._state, self._weather = LinkState.OPEN, Weather()
        self._mending: asyncio.Task[None] | None = None

    def info(self, for_s: float | None = None) -> LinkInfo:
        host, port = self.addresses[0]
        count, at = len(self._connections), f"{host}:{port}"
        return LinkInfo(name=self.name, state=self._state, connections=count, address=at, for_s=for_s)

    async def open(self) -> None:
        """Where it does not listen yet. Known before it listens: whoever breaks this off leaves nothing behind."""
        for (host, port), target in list(zip(self.addresses, self._targets, strict=True))[len(self._servers) :]:
            serve = partial(self._serve, target)
            server = await asyncio.start_server(serve, host, port, reuse_port=True, start_serving=False)
            self._servers.append(server)
            await server.start_serving()

    async def spoil(self, state: LinkState, wanted: Spoil) -> LinkInfo:
        """In effect when this returns; it replaces what was the matter before, and undoes itself."""
        await self._stop_mending()
        await self.mend()
        self._change(state, WEATHERS[state](wanted))
        if state is LinkState.CUT:
            self._refuse()
            await self._reset(list(self._connections))
        self._mending = asyncio.create_task(self._mended_after(wanted.for_s))
        return self.info(wanted.for_s)

    async def mend(self) -> None:
        """Whole again. A connection that lost something must not go on as if it had not."""
        await self.open()
        self._change(LinkState.OPEN, Weather())
        await self._reset([connection for connection in self._connections if connection.torn])

    async def close(self) -> None:
        await self._stop_mending()
        self._refuse()
        await self._reset(list(self._connections))
        for held in self._held:
            held.close()

    def _change(self, state: LinkState, weather: Weather) -> None:
        self._state, self._weather = state, weather
        for connection in self._connections:
            connection.weather = weather

    def _refuse(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _serve(self, target: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(Side(reader, writer), self._weather)
        self._connections[connection] = task = asyncio.ensure_future(connection.run(*target))
        await asyncio.wait([task])
        self._connections.pop(connection, None)
        if task.cancelled() or task.exception():
            connection.reset()

    async def _reset(self, connections: Sequence[Connection]) -> None:
        for connection in connections:
            connection.reset()
            self._connections[connection].cancel()
        if tasks := [self._connections.pop(connection) for connection in connections]:
            await asyncio.wait(tasks)

    async def _mended_after(self, for_s: float) -> None:
        await asyncio.sleep(for_s)
        await self.mend()

    async def _stop_mending(self) -> None:
        task, self._mending = self._mending, None
        if task:
            task.cancel()
            await asyncio.wait([task])


def _held(port: int) -> socket.socket:
    """A socket that only keeps others off the port: while nobody listens, who connects is refused."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((LOOPBACK, port))
    return held


@asynccontextmanager
async def opened(targets: Mapping[str, Sequence[Address]]) -> AsyncIterator[Mapping[str, Link]]:
    """A link for each name."""
    links = {name: Link(name, addresses) for name, addresses in targets.items()}
    try:
        for link in links.values():
            await link.open()
        yield links
    finally:
        for link in links.values():
            await link.close()
