"""Services that the control room calls in a rider's or an operator's place; their responses are passed on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx
import msgspec
from litestar import Response

from prebook.http.client import limit_exchange
from prebook.http.problems import Problem
from prebook.messaging.errors import Unreachable

JSON = "application/json"
NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Upstream:
    """Listener of one service."""

    client: httpx.AsyncClient
    service: str
    url: str
    """Base URL."""
    timeout_s: float
    auth: Callable[[], httpx.Auth] | None = None
    """Returns what signs a request; called for each, because secrets are rotated."""

    async def call(
        self, method: str, path: str, headers: Mapping[str, str] = NO_HEADERS, body: msgspec.Struct | None = None
    ) -> Response[bytes]:
        """Return the response of the service, refusals included. Raises Problem (502) if there is none in time."""
        sent = {**headers, **({"content-type": JSON} if body else {})}
        content = msgspec.json.encode(body) if body else b""
        try:
            async with limit_exchange(self.service, self.timeout_s):
                response = await self.client.request(
                    method, self.url + path, headers=sent, content=content, auth=self.auth() if self.auth else None
                )
        except Unreachable as error:
            detail = f"{error}; the section on processes shows the state of {self.service}"
            raise Problem(502, f"{self.service}_unreachable", detail) from error
        media_type = response.headers.get("content-type", JSON)
        return Response(response.content, status_code=response.status_code, media_type=media_type)
