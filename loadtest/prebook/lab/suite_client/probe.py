"""An eye on a service from outside while it is being broken: what the supervisor says is not proof enough."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

PROBE_INTERVAL_S = 0.15
PROBE_TIMEOUT_S = 1.0
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)


@dataclass
class ProbeResults:
    count: int = 0
    failures: int = 0
    slowest_s: float = 0.0


class Prober(ABC):
    """Asks the same thing again and again, over new connections."""

    @asynccontextmanager
    async def run(self) -> AsyncIterator[ProbeResults]:
        seen = ProbeResults()
        over = asyncio.Event()
        watch = asyncio.create_task(self._probe_loop(seen, over))
        try:
            yield seen
        finally:
            # Not by cancelling alone: a cancellation that meets a connection attempt as it fails can be lost in it.
            over.set()
            watch.cancel()
            await asyncio.wait({watch}, timeout=2 * PROBE_TIMEOUT_S)

    async def _probe_loop(self, results: ProbeResults, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._probe_once(results)
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _probe_once(self, results: ProbeResults) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            await self._attempt()
        except (aiohttp.ClientError, OSError, EOFError, TimeoutError):
            results.failures += 1
        results.count += 1
        results.slowest_s = max(results.slowest_s, clock() - began)

    @abstractmethod
    async def _attempt(self) -> None:
        """Returns once it is answered. Raises ClientError, OSError, EOFError, or TimeoutError after PATIENCE_S."""


class HttpProbe(Prober):
    """Asks a service for its ``/livez``."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._url = f"{base_url}/livez"

    async def _attempt(self) -> None:
        async with self._session.get(self._url, timeout=PROBE_TIMEOUT, headers={"Connection": "close"}) as response:
            await response.read()


class TcpProbe(Prober):
    """Connects to ``address`` (``host:port``), says ``hello`` as clients there do, and waits for the first byte."""

    def __init__(self, address: str, hello: bytes) -> None:
        self._host, _, self._port = address.rpartition(":")
        self._hello = hello

    async def _attempt(self) -> None:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(self._host, int(self._port))
            try:
                writer.write(self._hello)
                await reader.readexactly(1)
            finally:
                writer.transport.abort()
