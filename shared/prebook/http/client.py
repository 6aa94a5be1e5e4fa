"""The one HTTP client factory, and the port that the couplings call through."""

import asyncio
from collections.abc import Callable, Mapping

import httpx
from httpx_aiohttp import AiohttpTransport

from prebook.coupling.ports import Response
from prebook.messaging.channel import Unreachable
from prebook.messaging.failures import spelled

LONGEST_RESPONSE = 256 * 1024
MOST_CONNECTIONS = 200


def client(base_url: str = "") -> httpx.AsyncClient:
    """httpx over aiohttp's transport (the stock one collapses with concurrency); no proxies, no redirects."""
    limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS)
    transport = AiohttpTransport(limits=limits, trust_env=False)
    return httpx.AsyncClient(
        base_url=base_url, transport=transport, trust_env=False, timeout=httpx.Timeout(30.0, connect=2.0, pool=1.0)
    )


class HttpCaller:
    """Calls services by name. Implements coupling.ports.Http."""

    def __init__(self, urls: Mapping[str, str], *, calling: Callable[[str], None] = lambda _: None) -> None:
        """``calling`` is told the service, right before each request leaves for it."""
        self._urls, self._calling = urls, calling
        self._client = client()

    async def request(
        self, method: str, service: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", timeout_s: float
    ) -> Response:
        """httpx times each read, not the whole: the total is bounded here."""
        try:
            self._calling(service)
            async with asyncio.timeout(timeout_s):
                response = await self._client.request(
                    method, self._urls[service] + path, headers={**JSON, **headers}, content=body
                )
        except (TimeoutError, httpx.TimeoutException):
            raise Unreachable(f"{service} did not answer within {timeout_s:.2f} s", reason="timeout") from None
        except httpx.HTTPError as error:
            raise Unreachable(f"{service}: {spelled(error)}") from error
        return Response(response.status_code, response.headers, response.content)

    async def close(self) -> None:
        await self._client.aclose()


JSON = {"content-type": "application/json"}
