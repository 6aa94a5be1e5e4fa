"""The HTTP client that the couplings call through: aiohttp's, as httpx over it costs three times as much (0015)."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp

from prebook.coupling.ports import Response
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.errors import spelled

LONGEST_RESPONSE = 256 * 1024
MOST_CONNECTIONS = 200
"""To one service, so that one which hangs takes none of another's."""
CONNECTED_WITHIN_S, FREE_WITHIN_S = 2.0, 1.0
UNSAID = ("User-Agent", "Accept", "Accept-Encoding")
"""What aiohttp would say of itself; our doors do not ask."""


class HttpCaller:
    """Calls services by name. Implements coupling.ports.Http. No proxies, no redirects, no cookies."""

    def __init__(self, urls: Mapping[str, str], *, calling: Callable[[str], None] = lambda _: None) -> None:
        """``calling`` is told the service, right before each request leaves for it."""
        self._urls, self._calling = urls, calling
        self._slots: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MOST_CONNECTIONS))
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> Response:
        """Response headers come with lower-case names. A response that is too long is Undeliverable."""
        async with self._slot(service, timeout_s):
            self._calling(service)
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._answered(method, self._urls[service] + path, {**JSON, **headers}, body)
            except TimeoutError:
                raise Unreachable(f"{service} did not answer within {timeout_s:.2f} s", reason="timeout") from None
            except aiohttp.ClientError as error:
                raise Unreachable(f"{service}: {spelled(error)}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _slot(self, service: str, timeout_s: float) -> AsyncIterator[None]:
        """Waiting for a connection is our own trouble, and is told apart from the silence of who is called."""
        slots, wait_s = self._slots[service], min(FREE_WITHIN_S, timeout_s)
        try:
            async with asyncio.timeout(wait_s):
                await slots.acquire()
        except TimeoutError:
            busy = f"all {MOST_CONNECTIONS} connections to {service} are taken, and none was free within {wait_s:.2f} s"
            raise Unreachable(busy) from None
        try:
            yield
        finally:
            slots.release()

    async def _answered(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        async with self._opened().request(
            method, url, headers=headers, data=body, allow_redirects=False, skip_auto_headers=UNSAID
        ) as response:
            said = {name.lower(): value for name, value in response.headers.items()}
            return Response(response.status, said, await _read(response))

    def _opened(self) -> aiohttp.ClientSession:
        """On the loop that calls; there may be none yet where we are made."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECTED_WITHIN_S),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Never more than LONGEST_RESPONSE of it, whatever length it says it has."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > LONGEST_RESPONSE:
            response.close()
            raise Undeliverable(f"the response is longer than {LONGEST_RESPONSE} bytes", cause="too_large")
    return bytes(body)


JSON = {"content-type": "application/json"}
