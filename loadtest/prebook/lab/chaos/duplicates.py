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

POLL_INTERVAL_S = 1.0
METRICS_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
DUPLICATE_LINE = re.compile(r"^prebook_messages_duplicate_total(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


def duplicates_in(page: str) -> float:
    """Over all flows, couplings and kinds of a /metrics page."""
    return sum(map(float, DUPLICATE_LINE.findall(page)))


@dataclass
class DuplicateCounter:
    """By service: ``last_counts`` were read last, ``earlier_counts`` are those of its earlier processes."""

    session: aiohttp.ClientSession
    urls: Mapping[str, str]
    last_counts: dict[str, float] = field(default_factory=dict)
    earlier_counts: dict[str, float] = field(default_factory=dict)
    first_counts: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return round(sum(self.count_of(service) for service in self.last_counts))

    def count_of(self, service: str) -> float:
        return self.earlier_counts.get(service, 0.0) + self.last_counts[service] - self.first_counts[service]

    def record(self, service: str, count: float) -> None:
        """What was there at the first look is not ours."""
        last = self.last_counts.get(service)
        self.first_counts.setdefault(service, count)
        if last is not None and count < last:
            self.earlier_counts[service] = self.earlier_counts.get(service, 0.0) + last
        self.last_counts[service] = count

    async def run(self) -> None:
        while True:
            await self.poll()
            await asyncio.sleep(POLL_INTERVAL_S)

    async def poll(self) -> None:
        await asyncio.gather(*(self._poll(service, url) for service, url in self.urls.items()))

    async def _poll(self, service: str, url: str) -> None:
        with suppress(aiohttp.ClientError, TimeoutError):  # a service under a fault may not answer
            async with self.session.get(f"{url}/metrics", timeout=METRICS_TIMEOUT) as response:
                if response.ok:
                    self.record(service, duplicates_in(await response.text()))
