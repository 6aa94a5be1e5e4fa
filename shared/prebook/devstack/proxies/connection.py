"""A proxied TCP connection and the faults that impair its bytes."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

CHUNK_BYTES = 65_536
MAX_CHUNKS_IN_FLIGHT = 64
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Direction(Enum):
    """Upstream is towards the server, downstream towards the client."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


@dataclass(frozen=True)
class Impairment:
    """A fault in effect on connections.

    ``dropped``: directions in which bytes, and ends of connections, are dropped.
    """

    delay_s: float = 0.0
    dropped: frozenset[Direction] = frozenset()


@dataclass(frozen=True)
class SocketStream:
    """Reader and writer of one side of a proxied connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        """Close with RST; bytes not sent yet are discarded."""
        raw = self.writer.get_extra_info("socket")
        if raw is not None and not self.writer.transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()


class ProxiedConnection:
    """A connection through the proxy.

    ``impairment`` may change at any time. ``corrupted``: bytes or an end were dropped, so it can only be reset.
    """

    def __init__(self, client: SocketStream, impairment: Impairment) -> None:
        self._streams = [client]
        self.impairment = impairment
        self.corrupted = False

    async def run(self, host: str, port: int) -> None:
        """Forward until both directions have ended. Raises OSError, or a group of them, if a side breaks off."""
        client = self._streams[0]
        if Direction.UPSTREAM in self.impairment.dropped:
            await self._wait_until_reset()
        upstream = SocketStream(*await asyncio.open_connection(host, port))
        self._streams.append(upstream)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._forward(client, upstream, Direction.UPSTREAM))
            both.create_task(self._forward(upstream, client, Direction.DOWNSTREAM))
        for side in self._streams:
            side.writer.close()

    def reset(self) -> None:
        """Abort both sides of the connection with a TCP reset; bytes in flight are lost."""
        for side in self._streams:
            side.reset()

    async def _forward(self, source: SocketStream, sink: SocketStream, direction: Direction) -> None:
        """Forward one direction, reading on while chunks are delayed, so that a delay does not limit the throughput."""
        in_flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_CHUNKS_IN_FLIGHT)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._read(source, in_flight, direction))
            both.create_task(self._write(in_flight, sink, direction))

    async def _read(
        self, source: SocketStream, in_flight: asyncio.Queue[tuple[float, bytes]], direction: Direction
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._drop_errors(direction):
                data = await source.reader.read(CHUNK_BYTES)
            if direction not in self.impairment.dropped:
                await in_flight.put((loop.time() + self.impairment.delay_s, data))
            else:
                self.corrupted = True
            if not data:
                return

    async def _write(
        self, in_flight: asyncio.Queue[tuple[float, bytes]], sink: SocketStream, direction: Direction
    ) -> None:
        loop = asyncio.get_running_loop()
        opposite = OPPOSITE[direction]
        while True:
            due, data = await in_flight.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            async with self._drop_errors(opposite):
                if not data:
                    return sink.writer.write_eof()
                sink.writer.write(data)
                await sink.writer.drain()

    @asynccontextmanager
    async def _drop_errors(self, direction: Direction) -> AsyncIterator[None]:
        """Drop an error of the block, as bytes are, if ``direction`` is dropped; then wait for the reset."""
        try:
            yield
        except OSError:
            if direction not in self.impairment.dropped:
                raise
            await self._wait_until_reset()

    async def _wait_until_reset(self) -> None:
        """Wait until the connection is reset, which cancels this task."""
        self.corrupted = True
        await asyncio.Event().wait()


OPPOSITE = {Direction.UPSTREAM: Direction.DOWNSTREAM, Direction.DOWNSTREAM: Direction.UPSTREAM}
