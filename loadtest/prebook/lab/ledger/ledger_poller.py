"""The three sources of one scenario, read again and again until nothing more is to come."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from prebook.contracts.booking import LedgerEntry
from prebook.lab.ledger.reconciliation import Reconciliation, reconcile
from prebook.lab.load.generator import ClockOrigin, Generator
from prebook.lab.load.samples import key_prefix
from prebook.lab.polling import poll_until
from prebook.lab.suite_client.services import SuiteClient, SuiteUnreachable, read_parked_booking_ids

POLL_INTERVAL_S = 0.5
MAX_CLOCK_SKEW_S = 5.0
"""How far notification's clock may lag behind ours."""


@dataclass
class LedgerPoller:
    suite: SuiteClient
    run_id: str
    scenario: str
    generator: Generator
    origin: ClockOrigin
    earlier_rows: Sequence[LedgerEntry]
    dead_lettered: frozenset[str] | None = None
    """Bookings of which operations holds a message; None as long as it has not told."""
    reconciliation: Reconciliation = field(default_factory=lambda: reconcile((), (), ()))
    offering_done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when no more rides arrive: from then on ``wait_until_settled`` polls."""

    async def poll(self) -> Reconciliation:
        rows = await self.suite.read_ledger(key_prefix(self.run_id, self.scenario))
        deliveries = await self.suite.read_deliveries(self.origin.wall_at(-MAX_CLOCK_SKEW_S))
        parked = self.dead_lettered or frozenset()
        self.reconciliation = reconcile(
            self.generator.samples, rows, deliveries, dead_lettered=parked, earlier_rows=self.earlier_rows
        )
        return self.reconciliation

    async def poll_while_offering(self, interval_s: float) -> None:
        while not self.offering_done.is_set():
            await asyncio.sleep(interval_s)
            with suppress(SuiteUnreachable):  # a suite under a fault may be slow to tell; the last look decides
                await self.poll()

    async def wait_until_settled(self, timeout_s: float) -> float:
        """Looks until all is at rest or the deadline is over; returns the seconds it took. The last look may raise."""
        clock = asyncio.get_running_loop().time
        started_at = clock()
        with suppress(TimeoutError):
            await poll_until(self._poll_at_rest, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
        took_s = clock() - started_at
        with suppress(SuiteUnreachable):  # not everywhere operations runs
            self.dead_lettered = await read_parked_booking_ids(self.suite)
        await self.poll()
        return took_s

    async def _poll_at_rest(self) -> Reconciliation | None:
        with suppress(SuiteUnreachable):
            if not (await self.poll()).pending:
                return self.reconciliation
        return None
