"""Sources of the control room: the services' metrics and ledger, and the broker's queues."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import msgspec

from prebook.contracts.back_pressure import BackPressure
from prebook.contracts.booking import LedgerClocks, LedgerTotals
from prebook.contracts.default_plan import DefaultPlan
from prebook.contracts.plan import plan_label
from prebook.control_room.backlog import Backlogs
from prebook.control_room.exposition import MetricSample, read_samples
from prebook.control_room.figures import METRICS, CounterTotals, figures_of
from prebook.control_room.timeline import Timeline
from prebook.http.client import limit_exchange
from prebook.messaging.errors import Unreachable
from prebook.rabbit.management import ManagementClient

REQUEST_TIMEOUT_S = 2.0
PATIENCE_S = 0.5
"""Seconds after which figures are shown without those of processes that have not answered yet."""
CLOCK_WINDOW_S = 60
"""Window of the percentiles, in seconds."""
T = TypeVar("T")
Samples = Sequence[MetricSample] | None


@dataclass
class MetricsSource:
    """Metrics of every process."""

    client: httpx.AsyncClient
    process_urls: Mapping[str, str]
    """Base URL of the internal listener of each process, replicas included."""
    backlogs: Backlogs
    name: str = "metrics"
    interval_s: float = 1.0
    _totals: CounterTotals = field(default_factory=CounterTotals)
    _scrapes: dict[str, asyncio.Task[Samples]] = field(default_factory=dict)
    _known: dict[str, Samples] = field(default_factory=dict)
    """What each process answered last; None: nothing."""

    async def read(self) -> Mapping[str, Any]:
        """Return ``backlogs``, ``queue_oldest`` and the sections of ``figures_of``, in which processes may be away."""
        await self._scrape_all()
        figures = figures_of({process: self._known.get(process) for process in self.process_urls}, self._totals)
        backlogs = self.backlogs.note_messages(time.time(), figures["messages"])
        return {**figures, "backlogs": backlogs, "queue_oldest": self.backlogs.oldest_by_queue(backlogs)}

    async def _scrape_all(self) -> None:
        """Take in the metrics of the processes that answer soon. A slow one is waited for, and delays no other."""
        for process, url in self.process_urls.items():
            if process not in self._scrapes:
                self._scrapes[process] = asyncio.create_task(self._scrape(url))
        is_first = self._known.keys() < self.process_urls.keys()
        timeout_s = REQUEST_TIMEOUT_S if is_first else PATIENCE_S
        done, _ = await asyncio.wait(self._scrapes.values(), timeout=timeout_s)
        for process in [process for process, scrape in self._scrapes.items() if scrape in done]:
            self._known[process] = self._scrapes.pop(process).result()

    async def _scrape(self, url: str) -> Samples:
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
    backlogs: Backlogs
    name: str = "queues"
    interval_s: float = 2.0

    async def read(self) -> Mapping[str, Any]:
        """Return the section ``queues``."""
        depths = await self.management.read_queue_depths()
        self.backlogs.note_queues(time.time(), depths)
        return {"queues": depths}


@dataclass
class LedgerSource:
    """Bookings by plan and state, and the clocks of each plan, as booking has them."""

    booking: "BookingReader"
    """Of the process that serves riders: only it knows the times of responses."""
    name: str = "ledger"
    interval_s: float = 1.0
    _timeline: Timeline = field(default_factory=Timeline)

    async def read(self) -> Mapping[str, Any]:
        """Return the sections ``ledger``, ``clocks`` and ``timeline``, by plan. Raises Unreachable."""
        totals = await self.booking.get("/v1/ledger/totals", LedgerTotals)
        clocks = await self.booking.get(f"/v1/ledger/clocks?window_s={CLOCK_WINDOW_S}", LedgerClocks)
        ledger: dict[str, dict[str, int]] = {}
        for row in totals.totals:
            ledger.setdefault(plan_label(row.couplings), {})[row.state.value] = row.bookings
        return {
            "ledger": ledger,
            "clocks": {plan_label(each.couplings): _figures(each) for each in clocks.plans},
            "timeline": self._timeline.note(time.time(), ledger),
        }


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
