"""The HTTP client that the couplings call through: aiohttp's, as httpx over it costs three times as much (0015)."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp

from prebook.coupling.ports import HttpResponse
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary

MAX_RESPONSE_BYTES = 256 * 1024
MAX_CONNECTIONS_PER_SERVICE = 200
"""To one service, so that one which hangs takes none of another's."""
CONNECT_TIMEOUT_S, ACQUIRE_TIMEOUT_S = 2.0, 1.0
SUPPRESSED_HEADERS = ("User-Agent", "Accept", "Accept-Encoding")
"""Headers that aiohttp would add; no endpoint of ours reads them."""


class ServiceClient:
    """Calls services by name. Implements coupling.ports.HttpClient. No proxies, no redirects, no cookies."""

    def __init__(self, urls: Mapping[str, str], *, before_request: Callable[[str], None] = lambda _: None) -> None:
        """``before_request`` is called with the service's name right before each request."""
        self._urls, self._before_request = urls, before_request
        self._permits: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_CONNECTIONS_PER_SERVICE)
        )
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        """Response headers come with lower-case names. A response that is too long is Undeliverable."""
        async with self._connection_permit(service, timeout_s):
            self._before_request(service)
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._send(method, self._urls[service] + path, {**JSON_HEADERS, **headers}, body)
            except TimeoutError:
                raise Unreachable(f"{service} did not answer within {timeout_s:.2f} s", reason="timeout") from None
            except aiohttp.ClientError as error:
                raise Unreachable(f"{service}: {error_summary(error)}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _connection_permit(self, service: str, timeout_s: float) -> AsyncIterator[None]:
        """Waiting for a connection is our own trouble, and is told apart from the silence of who is called."""
        permits, wait_s = self._permits[service], min(ACQUIRE_TIMEOUT_S, timeout_s)
        try:
            async with asyncio.timeout(wait_s):
                await permits.acquire()
        except TimeoutError:
            busy = f"all {MAX_CONNECTIONS_PER_SERVICE} connections to {service} stayed taken for {wait_s:.2f} s"
            raise Unreachable(busy) from None
        try:
            yield
        finally:
            permits.release()

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        async with self._get_session().request(
            method, url, headers=headers, data=body, allow_redirects=False, skip_auto_headers=SUPPRESSED_HEADERS
        ) as response:
            said = {name.lower(): value for name, value in response.headers.items()}
            return HttpResponse(response.status, said, await _read_body(response))

    def _get_session(self) -> aiohttp.ClientSession:
        """On the loop that calls; there may be none yet where we are made."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    """Never more than MAX_RESPONSE_BYTES of it, whatever length it says it has."""
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > MAX_RESPONSE_BYTES:
            response.close()
            raise Undeliverable(f"the response is longer than {MAX_RESPONSE_BYTES} bytes", cause="too_large")
    return bytes(body)


JSON_HEADERS = {"content-type": "application/json"}
