"""Sources of the control room: the services' metrics and ledger, and the broker's queues."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import msgspec

from prebook.contracts.back_pressure import BackPressure
from prebook.contracts.booking import LedgerClocks, LedgerTotals
from prebook.contracts.default_plan import DefaultPlan
from prebook.contracts.plan import plan_label
from prebook.control_room.exposition import MetricSample, read_samples
from prebook.control_room.figures import METRICS, CounterTotals, figures_of
from prebook.http.client import limit_exchange
from prebook.messaging.errors import Unreachable
from prebook.rabbit.management import ManagementClient

REQUEST_TIMEOUT_S = 2.0
CLOCK_WINDOW_S = 60
"""Window of the percentiles, in seconds."""
T = TypeVar("T")


@dataclass
class MetricsSource:
    """Metrics of every process."""

    client: httpx.AsyncClient
    process_urls: Mapping[str, str]
    """Base URL of the internal listener of each process, replicas included."""
    name: str = "metrics"
    interval_s: float = 1.0
    _totals: CounterTotals = field(default_factory=CounterTotals)

    async def read(self) -> Mapping[str, Any]:
        """Return the sections of ``figures_of``; a process that does not answer is one of its figures."""
        scraped = await asyncio.gather(*(self._scrape(url) for url in self.process_urls.values()))
        return figures_of(dict(zip(self.process_urls, scraped, strict=True)), self._totals)

    async def _scrape(self, url: str) -> Sequence[MetricSample] | None:
        try:
            async with limit_exchange(url, REQUEST_TIMEOUT_S):
                response = await self.client.get(f"{url}/metrics")
        except Unreachable:
            return None
        return read_samples(response.text, METRICS) if response.is_success else None


@dataclass
class QueuesSource:
    """Depth of the broker's queues, by its own count, which is a few seconds old."""

    management: ManagementClient
    name: str = "queues"
    interval_s: float = 2.0

    async def read(self) -> Mapping[str, Any]:
        """Return the section ``queues``."""
        return {"queues": await self.management.read_queue_depths()}


@dataclass
class LedgerSource:
    """Bookings by plan and state, and the clocks of each plan, as booking has them."""

    booking: "BookingReader"
    """Of the process that serves riders: only it knows the times of responses."""
    name: str = "ledger"
    interval_s: float = 1.0

    async def read(self) -> Mapping[str, Any]:
        """Return the sections ``ledger`` and ``clocks``, by plan. Raises Unreachable."""
        totals = await self.booking.get("/v1/ledger/totals", LedgerTotals)
        clocks = await self.booking.get(f"/v1/ledger/clocks?window_s={CLOCK_WINDOW_S}", LedgerClocks)
        ledger: dict[str, dict[str, int]] = {}
        for row in totals.totals:
            ledger.setdefault(plan_label(row.couplings), {})[row.state.value] = row.bookings
        return {"ledger": ledger, "clocks": {plan_label(each.couplings): _figures(each) for each in clocks.plans}}


@dataclass
class SwitchesSource:
    """Positions of booking's switches."""

    booking: "BookingReader"
    name: str = "switches"
    interval_s: float = 0.5

    async def read(self) -> Mapping[str, Any]:
        """Return ``default_plan``, by flow, and ``back_pressure``. Raises Unreachable."""
        default_plan = await self.booking.get("/v1/default-plan", DefaultPlan)
        back_pressure = await self.booking.get("/v1/back-pressure", BackPressure)
        return {
            "default_plan": msgspec.to_builtins(default_plan.flows),
            "back_pressure": msgspec.to_builtins(back_pressure),
        }


@dataclass(frozen=True)
class BookingReader:
    """Reads booking's internal listener in the console's name."""

    client: httpx.AsyncClient
    url: str
    """Base URL."""
    auth: Callable[[], httpx.Auth]
    """Returns what signs a call; called for each, because secrets are rotated."""

    async def get(self, path: str, response_type: type[T]) -> T:
        """Return the decoded response. Raises Unreachable."""
        async with limit_exchange(self.url, REQUEST_TIMEOUT_S):
            response = await self.client.get(self.url + path, auth=self.auth())
        if not response.is_success:
            raise Unreachable(f"booking answered {response.status_code} to {path}", reason="unreachable")
        return msgspec.json.decode(response.content, type=response_type)


def _figures(clocks: msgspec.Struct) -> dict[str, Any]:
    """Return the clocks of one plan without its couplings."""
    figures: dict[str, Any] = msgspec.to_builtins(clocks)
    del figures["couplings"]
    return figures
