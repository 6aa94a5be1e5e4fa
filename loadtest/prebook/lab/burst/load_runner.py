"""Offers rides of all plans to a running suite and waits for its rest: a rung of the ladder, or the burst itself."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prebook.flows import PROCESSES
from prebook.lab.burst.monitor import Watch
from prebook.lab.faults.fault_access import Levers
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.arrivals import Arrivals, offsets
from prebook.lab.load.generator import Generator, Origin, prepare
from prebook.lab.load.plans import PLANS
from prebook.lab.load.request_schedule import interleave
from prebook.lab.load.retry_policy import NEVER, Returns
from prebook.lab.load.rides import campaign_week
from prebook.lab.load.samples import Sample, key_prefix
from prebook.lab.suite_client.services import Suite, SuiteUnreachable

LEAD_S, CLOCK_SLACK_S = 0.5, 5.0
READS, READ_AGAIN_S = 4, 5.0
QUIET_SECONDS, LOOK_EVERY_S = 2, 0.5
"""So many looks in a row must find nothing that waits."""


@dataclass(frozen=True)
class Offered:
    origin: Origin
    samples: Sequence[Sample]
    books: Reconciliation
    watch: Watch
    settle_s: float
    at_rest: bool
    """Nothing waited any more when the books were read."""


@dataclass(frozen=True)
class Ground:
    """A running suite, and what looks into it. ``run`` begins every Idempotency-Key."""

    levers: Levers
    database_url: str = field(repr=False)
    run: str
    seed: int
    settle_deadline_s: float

    async def offer(self, name: str, arrivals: Arrivals, returns: Returns = NEVER) -> Offered:
        """``name``: of this part of the run. Raises SuiteUnreachable where the suite cannot be read at the end."""
        suite = Suite(self.levers.session, self.levers.urls)
        await suite.check_ready(PROCESSES)
        seed = f"{self.seed}:{name}"
        offers = interleave(offsets(arrivals, seed), tuple(PLANS), seed)
        orders = prepare(offers, run=self.run, scenario=name, seed=self.seed, week=campaign_week(datetime.now(UTC)))
        generator = Generator(self.levers.session, self.levers.urls["booking"], name, returns)
        origin = Origin.now().later(LEAD_S)
        watch = Watch(self.levers, self.database_url, origin)
        watching = asyncio.create_task(watch.run())
        try:
            await generator.offer(orders, origin)
            settle_s, at_rest = await rest(watch, self.settle_deadline_s)
        finally:
            watch.over.set()
            await asyncio.wait({watching})
        books = await self._books(suite, name, generator.samples, origin)
        return Offered(origin, generator.samples, books, watch, settle_s, at_rest)

    async def _books(self, suite: Suite, name: str, samples: Sequence[Sample], origin: Origin) -> Reconciliation:
        """A flooded suite may need a while to tell. Raises SuiteUnreachable."""
        for _ in range(READS - 1):
            with suppress(SuiteUnreachable):
                return await self._read(suite, name, samples, origin)
            await asyncio.sleep(READ_AGAIN_S)
        return await self._read(suite, name, samples, origin)

    async def _read(self, suite: Suite, name: str, samples: Sequence[Sample], origin: Origin) -> Reconciliation:
        rows = await suite.rows(key_prefix(self.run, name))
        return reconcile(samples, rows, await suite.deliveries(origin.wall_at(-CLOCK_SLACK_S)))


async def rest(watch: Watch, deadline_s: float) -> tuple[float, bool]:
    """Returns when nothing waits any more, or the deadline is over; the seconds it took, and which of both it was."""
    clock = asyncio.get_running_loop().time
    began, first = clock(), len(watch.seconds)
    while clock() - began < deadline_s:
        await asyncio.sleep(LOOK_EVERY_S)
        last = watch.seconds[first:][-QUIET_SECONDS:]
        if len(last) == QUIET_SECONDS and all(quiet(s.outbox_rows, s.unanswered, s.queued) for s in last):
            return clock() - began, True
    return clock() - began, False


def quiet(*waiting: int | None) -> bool:
    """What cannot be seen is not known to rest."""
    return all(count == 0 for count in waiting)
