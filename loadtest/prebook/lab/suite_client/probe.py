"""Probes that measure from outside whether a fault takes effect: a 200 from the supervisor alone is no proof."""

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
    """Number of probes so far, number of failed ones, and the longest duration in seconds."""

    count: int = 0
    failures: int = 0
    slowest_s: float = 0.0


class Prober(ABC):
    """A repeated check of one endpoint, each time stop a new connection."""

    @asynccontextmanager
    async def run(self) -> AsyncIterator[ProbeResults]:
        """Probe every PROBE_INTERVAL_S while the block runs; yield results that are updated after each probe."""
        results = ProbeResults()
        stop = asyncio.Event()
        task = asyncio.create_task(self._probe_loop(results, stop))
        try:
            yield results
        finally:
            # The event backs up the cancellation, which asyncio can lose while a connection attempt fails.
            stop.set()
            task.cancel()
            await asyncio.wait({task}, timeout=2 * PROBE_TIMEOUT_S)

    async def _probe_loop(self, results: ProbeResults, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._probe_once(results)
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _probe_once(self, results: ProbeResults) -> None:
        clock = asyncio.get_running_loop().time
        started_at = clock()
        try:
            await self._attempt()
        except (aiohttp.ClientError, OSError, EOFError, TimeoutError):
            results.failures += 1
        results.count += 1
        results.slowest_s = max(results.slowest_s, clock() - started_at)

    @abstractmethod
    async def _attempt(self) -> None:
        """Return once the endpoint has responded.

        Raises ClientError, OSError, EOFError, or after PROBE_TIMEOUT_S TimeoutError.
        """


class HttpProbe(Prober):
    """A GET of a service's ``/livez``."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._url = f"{base_url}/livez"

    async def _attempt(self) -> None:
        async with self._session.get(self._url, timeout=PROBE_TIMEOUT, headers={"Connection": "close"}) as response:
            await response.read()


class TcpProbe(Prober):
    """A connection to ``address`` (``host:port``) that sends ``hello``, the protocol's opening, and reads one byte."""

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
