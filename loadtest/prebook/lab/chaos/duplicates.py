"""How many messages came again: what every service counts of them, added up over restarts.

A process that is killed begins to count at 0 again, so what it had counted is remembered; what it counted after the
last look is not known. The sum is therefore at most too small.
"""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp

LOOK_EVERY_S = 1.0
PATIENCE = aiohttp.ClientTimeout(total=2.0)
DUPLICATE = re.compile(r"^prebook_messages_duplicate_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


def counted(page: str) -> float:
    """Over all flows, couplings and kinds of a /metrics page."""
    return sum(map(float, DUPLICATE.findall(page)))


@dataclass
class Duplicates:
    """``seen`` and ``before`` are per service: what was read last, and what its earlier processes had counted."""

    session: aiohttp.ClientSession
    urls: Mapping[str, str]
    seen: dict[str, float] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return round(sum(self.of(service) for service in self.seen))

    def of(self, service: str) -> float:
        return self.before.get(service, 0.0) + self.seen[service] - self.began[service]

    def note(self, service: str, now: float) -> None:
        """What was there at the first look is not ours."""
        last = self.seen.get(service)
        self.began.setdefault(service, now)
        if last is not None and now < last:
            self.before[service] = self.before.get(service, 0.0) + last
        self.seen[service] = now

    async def watch(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        await asyncio.gather(*(self._look(service, url) for service, url in self.urls.items()))

    async def _look(self, service: str, url: str) -> None:
        with suppress(aiohttp.ClientError, TimeoutError):  # a service under a fault may not answer
            async with self.session.get(f"{url}/metrics", timeout=PATIENCE) as response:
                if response.ok:
                    self.note(service, counted(await response.text()))
