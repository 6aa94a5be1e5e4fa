"""The supervisor's control API: which processes there are, and orders to break one."""

from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec

CONTROL_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
Kind = TypeVar("Kind", bound=msgspec.Struct)


class ControlRefused(Exception):
    """The supervisor did not do what it was asked to; the text says what it answered."""


class Process(msgspec.Struct, frozen=True):
    name: str
    pid: int | None = None


class Control:
    def __init__(self, session: aiohttp.ClientSession, base_url: str, token: str) -> None:
        self._session = session
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def pid(self, name: str) -> int | None:
        """Of the running process; None while there is none."""
        listed = await self._list("/processes", Process)
        return next((process.pid for process in listed if process.name == name), None)

    async def names(self) -> frozenset[str]:
        """Of the processes that it keeps running."""
        return frozenset(process.name for process in await self._list("/processes", Process))

    async def order(self, name: str, what: str, terms: Mapping[str, float]) -> None:
        await self._call("POST", f"/processes/{name}/{what}", terms)

    async def _list(self, path: str, kind: type[Kind]) -> list[Kind]:
        body = await self._call("GET", path, None)
        try:
            return msgspec.json.decode(body, type=list[kind])  # type: ignore[valid-type]
        except msgspec.DecodeError as wrong:
            raise ControlRefused(f"the supervisor's answer to {path} cannot be read: {wrong}") from wrong

    async def _call(self, method: str, path: str, body: Any) -> bytes:
        url = self._base_url + path
        call = self._session.request(method, url, json=body, headers=self._headers, timeout=CONTROL_TIMEOUT)
        try:
            async with call as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ControlRefused(f"{method} {url} failed: {str(error) or 'no answer in time'}") from error
        if not response.ok:
            raise ControlRefused(f"{method} {url} answered {response.status}: {answer[:200]!r}")
        return answer
