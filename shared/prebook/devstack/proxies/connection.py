"""One TCP connection that is passed on, and what its link does to the bytes on the way."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

CHUNK, UNDER_WAY = 65_536, 64
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Towards(Enum):
    FAR = "to whom the link leads"
    NEAR = "to who connected"


@dataclass(frozen=True)
class Weather:
    """``swallowed`` are the directions that nothing gets through in; no end of a connection either."""

    delay_s: float = 0.0
    swallowed: frozenset[Towards] = frozenset()


@dataclass(frozen=True)
class Side:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        """RST, and whatever was not sent yet is forgotten."""
        raw = self.writer.get_extra_info("socket")
        if raw is not None and not self.writer.transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.writer.transport.abort()


class Connection:
    """``weather`` may change at any time. ``torn``: bytes or an end were swallowed, so that it can only be reset."""

    def __init__(self, near: Side, weather: Weather) -> None:
        self._sides, self.weather, self.torn = [near], weather, False

    async def run(self, host: str, port: int) -> None:
        """Until both directions have ended. Raises OSError, or a group of them, where an end breaks off."""
        near = self._sides[0]
        if Towards.FAR in self.weather.swallowed:
            await self._nowhere()
        far = Side(*await asyncio.open_connection(host, port))
        self._sides.append(far)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._pass(near, far, Towards.FAR))
            both.create_task(self._pass(far, near, Towards.NEAR))
        for side in self._sides:
            side.writer.close()

    def reset(self) -> None:
        for side in self._sides:
            side.reset()

    async def _pass(self, source: Side, sink: Side, towards: Towards) -> None:
        """What is read is on its way while more is read: a delay is no limit of the throughput."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDER_WAY)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._take(source, under_way, towards))
            both.create_task(self._give(under_way, sink, towards))

    async def _take(self, source: Side, under_way: asyncio.Queue[tuple[float, bytes]], towards: Towards) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._unheard(towards):
                data = await source.reader.read(CHUNK)
            if towards not in self.weather.swallowed:
                await under_way.put((loop.time() + self.weather.delay_s, data))
            else:
                self.torn = True
            if not data:
                return

    async def _give(self, under_way: asyncio.Queue[tuple[float, bytes]], sink: Side, towards: Towards) -> None:
        loop, back = asyncio.get_running_loop(), OPPOSITE[towards]
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            async with self._unheard(back):
                if not data:
                    return sink.writer.write_eof()
                sink.writer.write(data)
                await sink.writer.drain()

    @asynccontextmanager
    async def _unheard(self, towards: Towards) -> AsyncIterator[None]:
        """That a side broke off is news, which may be swallowed as well."""
        try:
            yield
        except OSError:
            if towards not in self.weather.swallowed:
                raise
            await self._nowhere()

    async def _nowhere(self) -> None:
        """Until it is reset."""
        self.torn = True
        await asyncio.Event().wait()


OPPOSITE = {Towards.FAR: Towards.NEAR, Towards.NEAR: Towards.FAR}
