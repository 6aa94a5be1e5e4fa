"""The broker's management API, as far as breaking and looking need it. RabbitMQ 3.10 to 4.x."""

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
    """The management API did not answer, or would not do it; the text says which and why."""


@dataclass(frozen=True)
class BrokerManagement:
    """One broker, seen by an administrator. ``url`` as in ``http://127.0.0.1:15672``; methods raise BrokerRefused."""

    session: aiohttp.ClientSession
    url: str
    user: str
    password: str = field(repr=False)

    async def get(self, *path: str, allowed_statuses: tuple[int, ...] = ()) -> Any:
        """The answer's JSON. ``path``: its parts, not yet escaped, as in ``get("queues", vhost)``. ``fine``: statuses
        that are no refusal here."""
        body = await self._call("GET", path, allowed_statuses=allowed_statuses)
        try:
            return msgspec.json.decode(body)
        except msgspec.DecodeError as wrong:
            raise BrokerManagementError(f"what answers at {self.url} is no management API: {wrong}") from wrong

    async def put(self, *path: str, body: Mapping[str, Any]) -> None:
        await self._call("PUT", path, json=body)

    async def delete(self, *path: str, reason: str = "") -> None:
        """What is not there is as good as deleted."""
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
        url = "/".join([f"{self.url}/api", *(quote(part, safe="") for part in path)])
        told = {**self._authorization, **(headers or {})}
        call = self.session.request(method, URL(url, encoded=True), headers=told, json=json, timeout=TIMEOUT)
        try:
            async with call as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BrokerManagementError(f"{method} {url} failed: {str(error) or 'no answer in time'}") from error
        if not response.ok and response.status not in allowed_statuses:
            raise BrokerManagementError(f"{method} {url} answered {response.status}: {body[:200]!r}")
        return body

    @property
    def _authorization(self) -> dict[str, str]:
        pair = b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
