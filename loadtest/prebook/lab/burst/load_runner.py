"""Offer rides of all plans to a running suite and wait until it is at rest: a capacity level, or the burst itself."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.flows import PROCESSES
from prebook.lab.burst.monitor import SuiteMonitor
from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.arrivals import Arrivals, arrival_offsets
from prebook.lab.load.generator import ClockOrigin, Generator, prepare_requests
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.retry_policy import NO_RETRIES, RiderRetryPolicy
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample, key_prefix
from prebook.lab.suite_client.services import SuiteClient, SuiteUnreachable

START_DELAY_S = 0.5
CLOCK_SLACK_S = 5.0
MAX_READS = 4
READ_RETRY_INTERVAL_S = 5.0
EMPTY_SNAPSHOTS = 2
POLL_INTERVAL_S = 0.5
"""So many looks in a row must find nothing that waits."""


@dataclass(frozen=True)
class LoadResult:
    origin: ClockOrigin
    samples: Sequence[Sample]
    reconciliation: Reconciliation
    monitor: SuiteMonitor
    settle_s: float
    at_rest: bool
    """Nothing waited any more when the books were read."""


@dataclass(frozen=True)
class LoadRunner:
    """A running suite, and what looks into it. ``run`` begins every Idempotency-Key."""

    fault_access: FaultAccess
    database_url: str = field(repr=False)
    run: str
    seed: int
    settle_timeout_s: float

    async def run_load(self, name: str, arrivals: Arrivals, retries: RiderRetryPolicy = NO_RETRIES) -> LoadResult:
        """``name``: of this part of the run. Raises SuiteUnreachable where the suite cannot be read at the end."""
        suite = SuiteClient(self.fault_access.session, self.fault_access.urls)
        await suite.check_ready(PROCESSES)
        seed = f"{self.seed}:{name}"
        offers = interleave(arrival_offsets(arrivals, seed), tuple(PLANS), seed)
        orders = prepare_requests(
            offers, run_id=self.run, scenario=name, seed=self.seed, week=campaign_week(datetime.now(UTC))
        )
        generator = Generator(self.fault_access.session, self.fault_access.urls["booking"], name, retries)
        origin = ClockOrigin.now().shifted(START_DELAY_S)
        monitor = SuiteMonitor(self.fault_access, self.database_url, origin)
        watching = asyncio.create_task(monitor.run())
        try:
            await generator.offer(orders, origin)
            settle_s, at_rest = await wait_until_at_rest(monitor, self.settle_timeout_s)
        finally:
            monitor.stopped.set()
            await asyncio.wait({watching})
        books = await self._reconcile_with_retry(suite, name, generator.samples, origin)
        return LoadResult(origin, generator.samples, books, monitor, settle_s, at_rest)

    async def _reconcile_with_retry(
        self, suite: SuiteClient, name: str, samples: Sequence[Sample], origin: ClockOrigin
    ) -> Reconciliation:
        """A flooded suite may need a while to tell. Raises SuiteUnreachable."""
        for _ in range(MAX_READS - 1):
            with suppress(SuiteUnreachable):
                return await self._reconcile(suite, name, samples, origin)
            await asyncio.sleep(READ_RETRY_INTERVAL_S)
        return await self._reconcile(suite, name, samples, origin)

    async def _reconcile(
        self, suite: SuiteClient, name: str, samples: Sequence[Sample], origin: ClockOrigin
    ) -> Reconciliation:
        rows = await suite.read_ledger(key_prefix(self.run, name))
        return reconcile(samples, rows, await suite.read_deliveries(origin.wall_at(-CLOCK_SLACK_S)))


async def wait_until_at_rest(monitor: SuiteMonitor, timeout_s: float) -> tuple[float, bool]:
    """Returns when nothing waits any more, or the deadline is over; the seconds it took, and which of both it was."""
    clock = asyncio.get_running_loop().time
    began = clock()
    first = len(monitor.snapshots)
    while clock() - began < timeout_s:
        await asyncio.sleep(POLL_INTERVAL_S)
        last = monitor.snapshots[first:][-EMPTY_SNAPSHOTS:]
        if len(last) == EMPTY_SNAPSHOTS and all(is_quiet(s.outbox_rows, s.pending_requests, s.queued) for s in last):
            return clock() - began, True
    return clock() - began, False


def is_quiet(*waiting: int | None) -> bool:
    """What cannot be seen is not known to rest."""
    return all(count == 0 for count in waiting)
