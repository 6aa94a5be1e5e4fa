"""Readiness, memory, series and connections of a running suite, which hostile input must not change."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Self

import httpx
import psutil

from tests.integration.suite import Suite, suite_processes
from tests.rabbit.message_fuzzer import TOKEN

MB = 1_000_000
MAX_GROWTH_MB = 25.0
MAX_NEW_SERIES = 400
"""More series than the causes and flows of the model can add; each of thousands of inputs could add one."""
READINESS_INTERVAL_S = 1.0


@asynccontextmanager
async def watch_readiness(suite: Suite) -> AsyncIterator[Counter[tuple[str, int]]]:
    """Ask every service whether it is ready while the block runs; yield the answers by service and status."""
    answers: Counter[tuple[str, int]] = Counter()

    async def ask_repeatedly() -> None:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            while True:
                for service, url in suite.state.urls.items():
                    answers[service, (await http.get(f"{url}/readyz")).status_code] += 1
                await asyncio.sleep(READINESS_INTERVAL_S)

    asking = asyncio.create_task(ask_repeatedly())
    try:
        yield answers
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


def count_half_closed(pid: int) -> int:
    """Return the connections of a process that the other side has closed and the process has not."""
    connections = psutil.Process(pid).net_connections("tcp")
    return sum(connection.status == psutil.CONN_CLOSE_WAIT for connection in connections)


@dataclass(frozen=True)
class Footprint:
    """Memory and series of the services."""

    memory_mb: Mapping[str, float]
    """Proportional set size of each Python process of the suite, in MB; empty parts in containers do not count."""
    series: Counter[str]
    """Number of series of each service."""

    @classmethod
    async def read(cls, suite: Suite) -> Self:
        memory_mb = {}
        for process in suite_processes(suite.state):
            with suppress(psutil.NoSuchProcess, ValueError):
                arguments = process.cmdline()
                memory_mb[arguments[arguments.index("-m") + 1]] = process.memory_full_info().pss / MB
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            pages = {name: (await http.get(f"{url}/metrics")).text for name, url in suite.state.internal_urls.items()}
        lines = {name: [line for line in page.splitlines() if line[:1] != "#"] for name, page in pages.items()}
        assert not [line for own in lines.values() for line in own if re.search(TOKEN, line)], "a token is a label"
        return cls(memory_mb, Counter({name: len(own) for name, own in lines.items()}))

    def describe_growth(self, before: Self) -> list[str]:
        """Return memory and series before and now, a line each."""
        return [
            *(f"{name}: {before.memory_mb[name]:.0f} MB, then {mb:.0f} MB" for name, mb in self.memory_mb.items()),
            f"series: {before.series.total()}, then {self.series.total()}",
        ]

    def verify_growth(self, before: Self) -> None:
        """Raise AssertionError if a process has grown, or the services have many more series."""
        growth = {name: mb - before.memory_mb[name] for name, mb in self.memory_mb.items()}
        assert all(mb < MAX_GROWTH_MB for mb in growth.values()), growth
        assert (self.series - before.series).total() < MAX_NEW_SERIES, self.series - before.series
