"""HTTP clients of the services: httpx over aiohttp's connections.

httpx on its own transport collapses above ten concurrent requests (decision 0015). ``prebook bench --only http`` prints
the price of a call over aiohttp's connections, compared with bare aiohttp.
"""

import asyncio
import os
import re
import socket
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import httpx
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from httpx_aiohttp import AiohttpTransport
from yarl import URL

from prebook.coupling.ports import HttpResponse
from prebook.messaging.errors import Undeliverable, Unreachable, error_summary
from prebook.patterns.claim_check import MAX_CHECKED_BYTES

MAX_RESPONSE_BYTES = MAX_CHECKED_BYTES
"""Size limit of a response body, in bytes: the largest one is that of a message with a claim check."""
MAX_CONNECTIONS_PER_SERVICE = 200
"""Maximum number of connections to one service, so that a hanging one takes none of another."""
CONNECT_TIMEOUT_S = 2.0
ACQUIRE_TIMEOUT_S = 1.0
"""Seconds to wait for a free connection."""
SUPPRESSED_HEADERS = ("User-Agent", "Accept", "Accept-Encoding")
"""Headers that the client would add; no endpoint of the suite reads them."""
UNUSED_TLS_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Keeps each transport from loading the file of certificate authorities into its own TLS context.

The sessions never use it: their connectors verify certificates with the one context of aiohttp. It contains no trusted
certificates.
"""
TRANSPORT_ERRORS = (httpx.HTTPError, aiohttp.ClientError, OSError)
"""Failures of an exchange: httpx's own, and those that aiohttp's transport does not translate. TimeoutError is one."""
PLAIN_TARGET = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+\Z")
"""Paths that every library spells in one way; most calls between services have one."""
AddressCheck = Callable[[str, str], None]
"""Called with a host and each of its addresses; raises an error where the address may not be connected to."""


class _CheckedResolver(ThreadedResolver):
    """The system's resolver, with a check of each address, so that only checked ones are connected to."""

    def __init__(self, check: AddressCheck) -> None:
        super().__init__()
        self._check = check

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = await super().resolve(host, port, family)
        for address in addresses:
            self._check(host, address["host"])
        return addresses


def create_transport(*, check_address: AddressCheck | None = None) -> httpx.AsyncBaseTransport:
    """Create an httpx transport over aiohttp, without proxies and without a limit on connections.

    ``check_address`` checks the addresses that a host name has; an address in a URL is used as it is.
    """

    def create_session() -> aiohttp.ClientSession:
        resolver = _CheckedResolver(check_address) if check_address else None
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=SUPPRESSED_HEADERS,
            trust_env=False,
        )

    return AiohttpTransport(client=create_session, verify=UNUSED_TLS_CONTEXT)


def create_http_client(*, check_address: AddressCheck | None = None) -> httpx.AsyncClient:
    """Create a client over ``create_transport``, which follows no redirects; close it with ``aclose``.

    It has no timeout, since httpx has none for a whole exchange: use ``limit_exchange`` around every call.
    """
    transport = create_transport(check_address=check_address)
    hooks = {"response": [_drop_location]}
    return httpx.AsyncClient(transport=transport, trust_env=False, timeout=None, event_hooks=hooks)  # noqa: S113


async def _drop_location(response: httpx.Response) -> None:
    """Drop the target of a redirect: httpx parses it even if it follows none, and fails if it is malformed.

    Some of these failures are none of httpx.HTTPError, and so the caller's own.
    """
    response.headers.pop("location", None)


@asynccontextmanager
async def limit_exchange(target: str, timeout_s: float | None) -> AsyncIterator[None]:
    """Limit the HTTP exchange in the block to ``timeout_s`` seconds, the response's body included; None: no limit.

    Raises:
        Unreachable: ``target`` did not respond in time (reason ``timeout``), or the exchange failed.
    """
    limit = asyncio.timeout(timeout_s)
    try:
        async with limit:
            yield
    except TRANSPORT_ERRORS as error:
        if limit.expired():
            raise Unreachable(f"{target} did not answer within {timeout_s:.2f} s", reason="timeout") from None
        # The transport translates by a table in which a refused and a lost connection are a ConnectTimeout.
        cause = error.__cause__ or error
        reason = "timeout" if isinstance(cause, TimeoutError) else "unreachable"
        raise Unreachable(f"{target}: {_summary(cause)}", reason=reason) from error


def _summary(error: BaseException) -> str:
    # asyncio's text for a failed attempt to connect has the address, but not the reason.
    if type(error) is aiohttp.ClientConnectorError and error.errno:
        return f"{error_summary(error)}: {os.strerror(error.errno).lower()}"
    return error_summary(error)


def sent_target(target: str) -> str:
    """Return path and query as the transport sends them: httpx, then aiohttp, spell some characters in their own way.

    aiohttp writes ``%2F`` in a query, and ``%3A`` anywhere, as the characters themselves.
    """
    return target if PLAIN_TARGET.match(target) else URL(str(httpx.URL(f"http://localhost{target}"))).raw_path_qs


class ServiceClient:
    """Calls services by name. Implements ``coupling.ports.HttpClient``."""

    def __init__(self, urls: Mapping[str, str], *, before_request: Callable[[str], None] = lambda _: None) -> None:
        """``before_request`` is called with the service's name right before each request."""
        self._urls = urls
        self._before_request = before_request
        self._permits: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_CONNECTIONS_PER_SERVICE)
        )
        self._transport = create_transport()

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> HttpResponse:
        """Send a request and return the response, with header names in lower case.

        ``timeout_s`` bounds the whole exchange, the response's body included. Raises Unreachable if no response came
        in time, and Undeliverable if it is longer than ``MAX_RESPONSE_BYTES``.
        """
        async with self._connection_permit(service, timeout_s):
            self._before_request(service)
            async with limit_exchange(service, timeout_s):
                return await self._send(method, self._urls[service] + path, {**JSON_HEADERS, **headers}, body)

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.aclose()

    @asynccontextmanager
    async def _connection_permit(self, service: str, timeout_s: float) -> AsyncIterator[None]:
        """Hold one of the connections to a service.

        An exhausted pool and an unresponsive service are reported as different errors.
        """
        permits = self._permits[service]
        wait_s = min(ACQUIRE_TIMEOUT_S, timeout_s)
        try:
            async with asyncio.timeout(wait_s):
                await permits.acquire()
        except TimeoutError:
            raise Unreachable(
                f"all {MAX_CONNECTIONS_PER_SERVICE} connections to {service} stayed taken for {wait_s:.2f} s"
            ) from None
        try:
            yield
        finally:
            permits.release()

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpResponse:
        # The transport itself: httpx.AsyncClient would add authentication, redirects and cookies, which no call between
        # services uses and which cost as much CPU time as the call.
        request = httpx.Request(method, url, headers=headers, content=body, extensions=CONNECT_TIMEOUT)
        response = await self._transport.handle_async_request(request)
        try:
            raw = response.headers.raw
            response_headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
            return HttpResponse(response.status_code, response_headers, await _read_body(response))
        finally:
            await response.aclose()


async def _read_body(response: httpx.Response) -> bytes:
    """Read at most ``MAX_RESPONSE_BYTES``, whatever length the response declares."""
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_RESPONSE_BYTES:
            raise Undeliverable(f"the response is longer than {MAX_RESPONSE_BYTES} bytes", cause="too_large")
    return bytes(body)


CONNECT_TIMEOUT = {"timeout": {"connect": CONNECT_TIMEOUT_S}}
JSON_HEADERS = {"content-type": "application/json"}
