"""Client of the RabbitMQ management API, for fault injection and observation. Tested with RabbitMQ 3.10 to 4.x.

The lab does not use ``prebook.rabbit.management``: it reaches a suite over the wire and imports none of its code.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

TIMEOUT = aiohttp.ClientTimeout(total=8.0)


class BrokerManagementError(Exception):
    """The management API did not respond, or refused a request; the text names the request and the reason."""


@dataclass(frozen=True)
class BrokerManagement:
    """The management API of one broker, with an administrator's credentials.

    ``url`` is the base URL, such as ``http://127.0.0.1:15672``. All methods raise BrokerManagementError.
    """

    session: aiohttp.ClientSession
    url: str
    user: str
    password: str = field(repr=False)

    async def get(self, *path: str, allowed_statuses: tuple[int, ...] = ()) -> Any:
        """Return the decoded JSON of a resource.

        ``path`` is given as unescaped segments, as in ``get("queues", vhost)``. A status in ``allowed_statuses`` does
        not raise.

        Raises:
            BrokerManagementError: no response, an error status, or a body that is not JSON.
        """
        body = await self._call("GET", path, allowed_statuses=allowed_statuses)
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError as error:
            raise BrokerManagementError(f"the server at {self.url} is not a management API: {error}") from error

    async def put(self, *path: str, body: Mapping[str, Any]) -> None:
        """Create or replace a resource with the JSON ``body``. Raises BrokerManagementError."""
        await self._call("PUT", path, json=body)

    async def delete(self, *path: str, reason: str = "") -> None:
        """Delete a resource if it exists; the broker logs ``reason``. Raises BrokerManagementError."""
        await self._call("DELETE", path, allowed_statuses=(404,), headers={"X-Reason": reason} if reason else {})

    async def _call(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        allowed_statuses: tuple[int, ...] = (),
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
    ) -> bytes:
        url = "/".join([f"{self.url}/api", *(quote(segment, safe="") for segment in path)])
        all_headers = {**self._authorization, **(headers or {})}
        request = self.session.request(method, URL(url, encoded=True), headers=all_headers, json=json, timeout=TIMEOUT)
        try:
            async with request as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BrokerManagementError(f"{method} {url} failed: {str(error) or 'timed out'}") from error
        if not response.ok and response.status not in allowed_statuses:
            raise BrokerManagementError(f"{method} {url} returned {response.status}: {body[:200]!r}")
        return body

    @property
    def _authorization(self) -> dict[str, str]:
        credentials = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {credentials}"}
