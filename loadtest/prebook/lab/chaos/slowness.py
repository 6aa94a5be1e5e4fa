"""Probe of the services' response times, by which an overloaded machine is told from a defect.

A synchronous call fails when its provider is slow, whatever the reason. A machine that cannot keep up slows all
services down without a fault, and a run on it says nothing about the suite's synchronous plans.
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import aiohttp

PROBE_INTERVAL_S = 0.5
PROBE_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
SLOW_RESPONSE_S = 0.5
"""Time of a readiness check that counts as slow: a hundred times the usual, and a quarter of a call's timeout."""
MAX_LOAD_PER_CORE = 4.0
"""Processes per core that want to run, as an average of the last minute, above which calls time out by themselves. The
suite and a chaos run alone cause half of it."""
MACHINE = "machine"
"""In place of a service, of a period in which MAX_LOAD_PER_CORE was exceeded."""


class SlowPeriod(NamedTuple):
    """A readiness check of ``service`` that took SLOW_RESPONSE_S or longer, or got no response; or see MACHINE."""

    service: str
    started_at: datetime
    ended_at: datetime


@dataclass
class SlownessProbe:
    """Checks every service's readiness again and again, and keeps the slow checks. ``urls``: base URL by service."""

    session: aiohttp.ClientSession
    urls: Mapping[str, str]
    slow: list[SlowPeriod] = field(default_factory=list)

    async def run(self) -> None:
        """Probe all services until cancelled."""
        async with asyncio.TaskGroup() as probes:
            probes.create_task(self._watch_load())
            for service, url in self.urls.items():
                probes.create_task(self._probe_forever(service, url))

    async def _probe_forever(self, service: str, url: str) -> None:
        while True:
            await self.probe(service, url)
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def _watch_load(self) -> None:
        while True:
            started_at = datetime.now(UTC)
            await asyncio.sleep(PROBE_INTERVAL_S)
            self.record_load(os.getloadavg()[0], os.cpu_count() or 1, started_at)

    def record_load(self, load: float, cores: int, started_at: datetime) -> None:
        """Record the load average of the machine, which has so many ``cores``, for the time since ``started_at``."""
        if load > MAX_LOAD_PER_CORE * cores:
            self.slow.append(SlowPeriod(MACHINE, started_at, datetime.now(UTC)))

    async def probe(self, service: str, url: str) -> None:
        """Check the readiness of ``service`` once; any status is a response."""
        started_at = datetime.now(UTC)
        responded = False
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self.session.get(f"{url}/readyz", timeout=PROBE_TIMEOUT) as response:
                await response.read()
                responded = True
        ended_at = datetime.now(UTC)
        if not responded or (ended_at - started_at).total_seconds() >= SLOW_RESPONSE_S:
            self.slow.append(SlowPeriod(service, started_at, ended_at))
