"""Probe of the services' response times, by which an overloaded machine is told from a defect.

A synchronous call fails when its provider is slow, whatever the reason. A machine that cannot keep up slows all
services down without a fault, and a run on it says nothing about the suite's synchronous plans.
"""

import asyncio
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


class SlowPeriod(NamedTuple):
    """A readiness check of ``service`` that took SLOW_RESPONSE_S or longer, or got no response."""

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
            for service, url in self.urls.items():
                probes.create_task(self._probe_forever(service, url))

    async def _probe_forever(self, service: str, url: str) -> None:
        while True:
            await self.probe(service, url)
            await asyncio.sleep(PROBE_INTERVAL_S)

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
