"""Client of the supervisor's control API: list processes, servers and fault proxies, and send fault commands."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

from prebook.devstack.supervisor.contract import ProcessInfo, ProxyInfo, ServerInfo

CONTROL_TIMEOUT = aiohttp.ClientTimeout(total=45.0)
"""Longer than the slowest request takes: the memory alarm, for which a busy machine starts rabbitmqctl slowly."""


class SupervisorError(Exception):
    """The supervisor did not carry out a request; the text holds its response."""


InfoT = TypeVar("InfoT", ProcessInfo, ServerInfo, ProxyInfo)


class SupervisorClient:
    """Control API of one supervisor, at ``base_url`` without a trailing slash. All methods raise SupervisorError."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, token: str) -> None:
        self._session = session
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def read_pid(self, name: str) -> int | None:
        """Return the process id of the process ``name``, or None while it is not running."""
        return next((process.pid for process in await self.list_processes() if process.name == name), None)

    async def list_processes(self) -> Sequence[ProcessInfo]:
        """Return the processes that the supervisor keeps running."""
        return await self._get_list("/processes", ProcessInfo)

    async def list_servers(self) -> Sequence[ServerInfo]:
        """Return the broker and the database if the supervisor runs them itself; external servers are not listed."""
        return await self._get_list("/servers", ServerInfo)

    async def read_server(self, name: str) -> ServerInfo:
        """Return the server ``name``. Raises SupervisorError, also if the supervisor does not run it."""
        return _find_named(name, await self.list_servers(), "server")

    async def list_proxies(self) -> Sequence[ProxyInfo]:
        """Return the fault proxies; empty if the suite runs without them."""
        return await self._get_list("/proxies", ProxyInfo)

    async def read_proxy(self, name: str) -> ProxyInfo:
        """Return the fault proxy ``name``. Raises SupervisorError, also if there is no such proxy."""
        return _find_named(name, await self.list_proxies(), "fault proxy")

    async def send_command(self, path: str, body: Mapping[str, float | str | bool | None]) -> None:
        """POST ``body`` to a command path such as ``/processes/pricing/kill``."""
        await self._call("POST", path, body)

    async def _get_list(self, path: str, info_type: type[InfoT]) -> list[InfoT]:
        body = await self._call("GET", path, None)
        try:
            return msgspec.json.decode(body, type=list[info_type])  # type: ignore[valid-type]
        except msgspec.DecodeError as error:
            raise SupervisorError(f"the supervisor's response to {path} cannot be read: {error}") from error

    async def _call(self, method: str, path: str, body: Any) -> bytes:
        url = self._base_url + path
        request = self._session.request(method, url, json=body, headers=self._headers, timeout=CONTROL_TIMEOUT)
        try:
            async with request as response:
                response_body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SupervisorError(f"{method} {url} failed: {str(error) or 'timed out'}") from error
        if not response.ok:
            raise SupervisorError(f"{method} {url} returned {response.status}: {response_body[:200]!r}")
        return response_body


def _find_named(name: str, resources: Sequence[InfoT], kind: str) -> InfoT:
    """Return the resource ``name``. Raises SupervisorError if there is none."""
    for resource in resources:
        if resource.name == name:
            return resource
    known = ", ".join(resource.name for resource in resources) or "none"
    raise SupervisorError(f"the supervisor has no {kind} {name}; it has {known}")
