"""An eye on a service from outside while it is being broken: what the supervisor says is not proof enough."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

INTERVAL_S = 0.15
PATIENCE_S = 1.0
PATIENCE = aiohttp.ClientTimeout(total=PATIENCE_S)


@dataclass
class Sightings:
    count: int = 0
    failures: int = 0
    slowest_s: float = 0.0


class Eye(ABC):
    """Asks the same thing again and again, over new connections."""

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Sightings]:
        seen, over = Sightings(), asyncio.Event()
        watch = asyncio.create_task(self._watch(seen, over))
        try:
            yield seen
        finally:
            # Not by cancelling alone: a cancellation that meets a connection attempt as it fails can be lost in it.
            over.set()
            watch.cancel()
            await asyncio.wait({watch}, timeout=2 * PATIENCE_S)

    async def _watch(self, seen: Sightings, over: asyncio.Event) -> None:
        while not over.is_set():
            await self._look(seen)
            await asyncio.sleep(INTERVAL_S)

    async def _look(self, seen: Sightings) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            await self._ask()
        except (aiohttp.ClientError, OSError, EOFError, TimeoutError):
            seen.failures += 1
        seen.count += 1
        seen.slowest_s = max(seen.slowest_s, clock() - began)

    @abstractmethod
    async def _ask(self) -> None:
        """Returns once it is answered. Raises ClientError, OSError, EOFError, or TimeoutError after PATIENCE_S."""


class Probe(Eye):
    """Asks a service for its ``/livez``."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._url = f"{base_url}/livez"

    async def _ask(self) -> None:
        async with self._session.get(self._url, timeout=PATIENCE, headers={"Connection": "close"}) as response:
            await response.read()


class Knock(Eye):
    """Connects to ``address`` (``host:port``), says ``hello`` as clients there do, and waits for the first byte."""

    def __init__(self, address: str, hello: bytes) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._hello = hello

    async def _ask(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(self._host, int(self._port))
            try:
                writer.write(self._hello)
                await reader.readexactly(1)
            finally:
                writer.transport.abort()
