"""The three sources of one scenario, read again and again until nothing more is to come."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from prebook.contracts.booking import LedgerLine
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.generator import Generator, Origin
from prebook.lab.load.samples import key_prefix
from prebook.lab.suite_client.services import Suite, SuiteUnreachable, parked_bookings

LOOK_EVERY_S = 0.5
CLOCK_SLACK_S = 5.0
"""How far notification's clock may lag behind ours."""


@dataclass
class Books:
    suite: Suite
    run: str
    scenario: str
    generator: Generator
    origin: Origin
    earlier: Sequence[LedgerLine]
    parked: frozenset[str] | None = None
    """Bookings of which operations holds a message; None as long as it has not told."""
    current: Reconciliation = field(default_factory=lambda: reconcile((), (), ()))
    offered: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when no more rides arrive: from then on ``settle`` does the looking."""

    async def look(self) -> Reconciliation:
        rows = await self.suite.rows(key_prefix(self.run, self.scenario))
        deliveries = await self.suite.deliveries(self.origin.wall_at(-CLOCK_SLACK_S))
        parked = self.parked or frozenset()
        self.current = reconcile(self.generator.samples, rows, deliveries, parked=parked, earlier=self.earlier)
        return self.current

    async def look_on(self, every_s: float) -> None:
        while not self.offered.is_set():
            await asyncio.sleep(every_s)
            with suppress(SuiteUnreachable):  # a suite under a fault may be slow to tell; the last look decides
                await self.look()

    async def settle(self, deadline_s: float) -> float:
        """Looks until all is at rest or the deadline is over; returns the seconds it took. The last look may raise."""
        clock = asyncio.get_running_loop().time
        began = clock()
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self._until_at_rest()
        took_s = clock() - began
        with suppress(SuiteUnreachable):  # not everywhere operations runs
            self.parked = await parked_bookings(self.suite)
        await self.look()
        return took_s

    async def _until_at_rest(self) -> None:
        while True:
            with suppress(SuiteUnreachable):
                if not (await self.look()).waiting:
                    return
            await asyncio.sleep(LOOK_EVERY_S)
