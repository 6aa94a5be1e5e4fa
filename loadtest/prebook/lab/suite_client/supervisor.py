"""The supervisor's control API: which processes there are, and orders to break one."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

from prebook.devstack.supervisor.contract import ProcessInfo, ProxyInfo, ServerInfo

CONTROL_TIMEOUT = aiohttp.ClientTimeout(total=10.0)


class SupervisorError(Exception):
    """The supervisor did not do what it was asked to; the text says what it answered."""


InfoT = TypeVar("InfoT", ProcessInfo, ServerInfo, ProxyInfo)


class SupervisorClient:
    def __init__(self, session: aiohttp.ClientSession, base_url: str, token: str) -> None:
        self._session = session
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def read_pid(self, name: str) -> int | None:
        """Of the running process; None while there is none."""
        return next((process.pid for process in await self.list_processes() if process.name == name), None)

    async def list_processes(self) -> Sequence[ProcessInfo]:
        """Those that it keeps running."""
        return await self._get_list("/processes", ProcessInfo)

    async def list_servers(self) -> Sequence[ServerInfo]:
        """Broker and database where the supervisor runs them itself; none where they are somebody else's."""
        return await self._get_list("/servers", ServerInfo)

    async def read_server(self, name: str) -> ServerInfo:
        return _find_named(name, await self.list_servers(), "server")

    async def list_proxies(self) -> Sequence[ProxyInfo]:
        """Empty where the suite runs without fault proxies."""
        return await self._get_list("/proxies", ProxyInfo)

    async def read_proxy(self, name: str) -> ProxyInfo:
        return _find_named(name, await self.list_proxies(), "fault proxy")

    async def send_command(self, path: str, body: Mapping[str, float | str]) -> None:
        """``path`` as in ``/processes/pricing/kill``."""
        await self._call("POST", path, body)

    async def _get_list(self, path: str, kind: type[InfoT]) -> list[InfoT]:
        body = await self._call("GET", path, None)
        try:
            return msgspec.json.decode(body, type=list[kind])  # type: ignore[valid-type]
        except msgspec.DecodeError as wrong:
            raise SupervisorError(f"the supervisor's answer to {path} cannot be read: {wrong}") from wrong

    async def _call(self, method: str, path: str, body: Any) -> bytes:
        url = self._base_url + path
        call = self._session.request(method, url, json=body, headers=self._headers, timeout=CONTROL_TIMEOUT)
        try:
            async with call as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise SupervisorError(f"{method} {url} failed: {str(error) or 'no answer in time'}") from error
        if not response.ok:
            raise SupervisorError(f"{method} {url} answered {response.status}: {answer[:200]!r}")
        return answer


def _find_named(name: str, resources: Sequence[InfoT], what: str) -> InfoT:
    """Raises SupervisorError where there is none."""
    for each in resources:
        if each.name == name:
            return each
    raise SupervisorError(
        f"the supervisor knows no {what} {name}; it knows {', '.join(e.name for e in resources) or 'none'}"
    )
