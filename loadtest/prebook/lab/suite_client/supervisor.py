"""The supervisor's control API: which processes there are, and orders to break one."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

CONTROL_TIMEOUT = aiohttp.ClientTimeout(total=10.0)


class ControlRefused(Exception):
    """The supervisor did not do what it was asked to; the text says what it answered."""


class Process(msgspec.Struct, frozen=True):
    name: str
    pid: int | None = None


class Part(msgspec.Struct, frozen=True):
    """Broker or database, or one of several nodes of the broker."""

    name: str
    state: str
    pid: int | None = None
    restarts: int = 0

    @property
    def runs(self) -> bool:
        return self.state == "running"


class Link(msgspec.Struct, frozen=True):
    """Between two processes, by a proxy of the supervisor's."""

    name: str
    state: str
    connections: int = 0
    address: str = ""


Named = TypeVar("Named", Process, Part, Link)


class Control:
    def __init__(self, session: aiohttp.ClientSession, base_url: str, token: str) -> None:
        self._session = session
        self._base_url = base_url
        self._headers = {"Authorization": f"Bearer {token}"}

    async def pid(self, name: str) -> int | None:
        """Of the running process; None while there is none."""
        return next((process.pid for process in await self.processes() if process.name == name), None)

    async def processes(self) -> Sequence[Process]:
        """Those that it keeps running."""
        return await self._list("/processes", Process)

    async def parts(self) -> Sequence[Part]:
        """Broker and database where the supervisor runs them itself; none where they are somebody else's."""
        return await self._list("/parts", Part)

    async def part(self, name: str) -> Part:
        return _named(name, await self.parts(), "part")

    async def links(self) -> Sequence[Link]:
        """None where the suite runs without links."""
        return await self._list("/links", Link)

    async def link(self, name: str) -> Link:
        return _named(name, await self.links(), "link")

    async def order(self, path: str, terms: Mapping[str, float | str]) -> None:
        """``path`` as in ``/processes/pricing/kill``."""
        await self._call("POST", path, terms)

    async def _list(self, path: str, kind: type[Named]) -> list[Named]:
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


def _named(name: str, listed: Sequence[Named], what: str) -> Named:
    """Raises ControlRefused where there is none."""
    for each in listed:
        if each.name == name:
            return each
    raise ControlRefused(
        f"the supervisor knows no {what} {name}; it knows {', '.join(e.name for e in listed) or 'none'}"
    )
