"""Load run against a running suite: offer rides under all plans, wait until the backlog is empty, reconcile."""

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
"""Allowance for the clock of notification when deliveries since the start are read."""
MAX_READS = 4
READ_RETRY_INTERVAL_S = 5.0
EMPTY_SNAPSHOTS = 2
"""Number of consecutive snapshots without backlog after which the suite is at rest."""
POLL_INTERVAL_S = 0.5


@dataclass(frozen=True)
class LoadResult:
    """Samples, reconciliation and snapshots of a load run. ``origin``: instant of the first intended arrival."""

    origin: ClockOrigin
    samples: Sequence[Sample]
    reconciliation: Reconciliation
    monitor: SuiteMonitor
    settle_s: float
    """Seconds waited after the last ride was offered."""
    at_rest: bool
    """Whether the backlog was empty before the reconciliation."""


@dataclass(frozen=True)
class LoadRunner:
    """Runs loads against one suite.

    ``database_url``: an administrator's URL, or empty. ``run``: prefix of every idempotency key. ``settle_timeout_s``:
    seconds that the suite may take after the load until its backlog is empty.
    """

    fault_access: FaultAccess
    database_url: str = field(repr=False)
    run: str
    seed: int
    settle_timeout_s: float

    async def run_load(self, name: str, arrivals: Arrivals, retries: RiderRetryPolicy = NO_RETRIES) -> LoadResult:
        """Offer ``arrivals`` under all plans and return the result. ``name``: scenario name in the idempotency keys.

        Raises:
            SuiteUnreachable: The suite is not ready, or its services cannot be read after the load.
        """
        suite = SuiteClient(self.fault_access.session, self.fault_access.addresses)
        await suite.check_ready(PROCESSES)
        seed = f"{self.seed}:{name}"
        planned = interleave(arrival_offsets(arrivals, seed), tuple(PLANS), seed)
        requests = prepare_requests(
            planned, run_id=self.run, scenario=name, seed=self.seed, week=campaign_week(datetime.now(UTC))
        )
        generator = Generator(self.fault_access.session, self.fault_access.addresses.public["booking"], name, retries)
        origin = ClockOrigin.now().shifted(START_DELAY_S)
        monitor = SuiteMonitor(self.fault_access, self.database_url, origin)
        monitoring = asyncio.create_task(monitor.run())
        try:
            await generator.offer(requests, origin)
            settle_s, at_rest = await wait_until_at_rest(monitor, self.settle_timeout_s)
        finally:
            monitor.stopped.set()
            await asyncio.wait({monitoring})
        reconciliation = await self._reconcile_with_retry(suite, name, generator.samples, origin)
        return LoadResult(origin, generator.samples, reconciliation, monitor, settle_s, at_rest)

    async def _reconcile_with_retry(
        self, suite: SuiteClient, name: str, samples: Sequence[Sample], origin: ClockOrigin
    ) -> Reconciliation:
        """Reconcile with up to MAX_READS attempts: an overloaded suite may time out at first.

        Raises:
            SuiteUnreachable: Every attempt failed.
        """
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
    """Wait until EMPTY_SNAPSHOTS consecutive snapshots of ``monitor`` are without backlog, at most ``timeout_s``.

    Return the seconds waited and whether the backlog is empty.
    """
    clock = asyncio.get_running_loop().time
    started = clock()
    first = len(monitor.snapshots)
    while clock() - started < timeout_s:
        await asyncio.sleep(POLL_INTERVAL_S)
        latest = monitor.snapshots[first:][-EMPTY_SNAPSHOTS:]
        if len(latest) == EMPTY_SNAPSHOTS and all(
            is_quiet(snapshot.outbox_rows, snapshot.pending_requests, snapshot.queued) for snapshot in latest
        ):
            return clock() - started, True
    return clock() - started, False


def is_quiet(*counts: int | None) -> bool:
    """Return whether all counts are 0; an unknown count (None) is not."""
    return all(count == 0 for count in counts)
