"""Number of duplicate messages, summed over all services and their restarts.

A restarted process counts from 0 again, so the last count of its predecessor is added. Counts between the last poll and
a restart are lost: the sum is a lower bound.
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
    """Return the duplicates on a /metrics page, summed over flows, couplings and message kinds."""
    return sum(map(float, DUPLICATE_LINE.findall(page)))


@dataclass
class DuplicateCounter:
    """Polls the duplicate counters of services. ``urls``: base URL of each service.

    Per service, ``first_counts`` and ``last_counts`` are the first and the latest poll, ``earlier_counts`` the sum over
    its processes before the present one.
    """

    session: aiohttp.ClientSession
    urls: Mapping[str, str]
    last_counts: dict[str, float] = field(default_factory=dict)
    earlier_counts: dict[str, float] = field(default_factory=dict)
    first_counts: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Duplicates of all services since the first poll."""
        return round(sum(self.count_of(service) for service in self.last_counts))

    def count_of(self, service: str) -> float:
        """Return the duplicates of ``service`` since the first poll."""
        return self.earlier_counts.get(service, 0.0) + self.last_counts[service] - self.first_counts[service]

    def record(self, service: str, count: float) -> None:
        """Add a poll of ``service``. The first count is a baseline: its messages precede the run."""
        last = self.last_counts.get(service)
        self.first_counts.setdefault(service, count)
        if last is not None and count < last:
            self.earlier_counts[service] = self.earlier_counts.get(service, 0.0) + last
        self.last_counts[service] = count

    async def run(self) -> None:
        """Poll every POLL_INTERVAL_S seconds until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_INTERVAL_S)

    async def poll(self) -> None:
        """Read the counters of all services once; a service that cannot be read keeps its last count."""
        await asyncio.gather(*(self._poll(service, url) for service, url in self.urls.items()))

    async def _poll(self, service: str, url: str) -> None:
        with suppress(aiohttp.ClientError, TimeoutError):  # a service under a fault may be unreachable
            async with self.session.get(f"{url}/metrics", timeout=METRICS_TIMEOUT) as response:
                if response.ok:
                    self.record(service, duplicates_in(await response.text()))
