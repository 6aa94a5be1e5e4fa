"""Load at a constant rate for as long as a change takes: every ride under each plan."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp

from prebook.contracts.plan import Coupling
from prebook.lab.load.generator import ClockOrigin, Generator, PreparedRequest, prepare_requests
from prebook.lab.load.request_schedule import PlannedRequest
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample, key_prefix

Plans = Mapping[str, Mapping[str, Coupling]]


class SteadyLoad:
    """Offers every ride under all of ``plans`` while ``run`` is open.

    ``plans`` may be replaced, and offering may be paused, at any time; both take effect within a second.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        booking_url: str,
        *,
        run_id: str,
        scenario: str,
        plans: Plans,
        seed: int,
        rides_per_s: int,
    ) -> None:
        """``run_id`` and ``scenario`` begin the idempotency keys; ``seed`` determines the rides."""
        self._generator = Generator(session, booking_url, scenario)
        self._run_id = run_id
        self._scenario = scenario
        self._rides_per_s = rides_per_s
        self._is_over = asyncio.Event()
        self._next_second = asyncio.Event()
        self.seed = seed
        self.week = campaign_week(datetime.now(UTC))
        self.plans = plans
        self.paused = False

    @property
    def key_prefix(self) -> str:
        """Begin of the idempotency keys of all requests."""
        return key_prefix(self._run_id, self._scenario)

    @property
    def samples(self) -> Sequence[Sample]:
        """Samples of the requests that have been answered so far."""
        return self._generator.samples

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Offer rides while the block runs. It ends once every request is answered."""
        task = asyncio.create_task(self._offer())
        try:
            yield
        finally:
            self._is_over.set()
            await task

    async def wait_for_second(self) -> None:
        """Return when the rides of the next second begin to be offered."""
        await self._next_second.wait()

    async def _offer(self) -> None:
        origin = ClockOrigin.now()
        second = 0
        async with asyncio.TaskGroup() as tasks:
            while not self._is_over.is_set():
                self._next_second.set()
                self._next_second = asyncio.Event()
                if not self.paused:
                    tasks.create_task(self._generator.offer(self._prepare(second), origin))
                second += 1
                await origin.wait_until(second)

    def _prepare(self, second: int) -> Sequence[PreparedRequest]:
        planned = plan_second(second, tuple(self.plans), self._rides_per_s)
        return prepare_requests(
            planned, run_id=self._run_id, scenario=self._scenario, seed=self.seed, week=self.week, plans=self.plans
        )


def plan_second(second: int, labels: Sequence[str], rides_per_s: int) -> tuple[PlannedRequest, ...]:
    """Return the requests of one second at equal distances: ``rides_per_s`` rides, each under all plans in turn."""
    count = rides_per_s * len(labels)
    return tuple(
        PlannedRequest(
            at_s=second + position / count,
            ride=second * rides_per_s + position // len(labels),
            label=labels[position % len(labels)],
        )
        for position in range(count)
    )
