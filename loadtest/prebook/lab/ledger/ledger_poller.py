"""Poller that reads the three sources of one scenario until all rides are settled."""

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
"""Seconds by which notification's clock may lag behind the lab's."""


@dataclass
class LedgerPoller:
    """Reads booking's ledger and notification's deliveries and reconciles them with the generator's samples."""

    suite: SuiteClient
    run_id: str
    scenario: str
    generator: Generator
    origin: ClockOrigin
    earlier_rows: Sequence[LedgerEntry]
    dead_lettered: frozenset[str] | None = None
    """Ids of bookings with a dead letter in operations; None until they have been read."""
    reconciliation: Reconciliation = field(default_factory=lambda: reconcile((), (), ()))
    offering_done: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the last ride has been offered; ends ``poll_while_offering``."""

    async def poll(self) -> Reconciliation:
        """Read all sources once and return the reconciliation. Raises SuiteUnreachable."""
        rows = await self.suite.read_ledger(key_prefix(self.run_id, self.scenario))
        deliveries = await self.suite.read_deliveries(self.origin.wall_at(-MAX_CLOCK_SKEW_S))
        dead_lettered = self.dead_lettered or frozenset()
        self.reconciliation = reconcile(
            self.generator.samples, rows, deliveries, dead_lettered=dead_lettered, earlier_rows=self.earlier_rows
        )
        return self.reconciliation

    async def poll_while_offering(self, interval_s: float) -> None:
        """Poll every ``interval_s`` seconds until ``offering_done`` is set."""
        while not self.offering_done.is_set():
            await asyncio.sleep(interval_s)
            with suppress(SuiteUnreachable):  # expected during a fault; the final poll decides
                await self.poll()

    async def wait_until_settled(self, timeout_s: float) -> float:
        """Poll until all rides are at rest, for at most ``timeout_s`` seconds, and then once more with dead letters.

        Returns the seconds until rest or the time limit. Raises SuiteUnreachable if the final poll fails.
        """
        clock = asyncio.get_running_loop().time
        started_at = clock()
        with suppress(TimeoutError):
            await poll_until(self._poll_at_rest, interval_s=POLL_INTERVAL_S, timeout_s=timeout_s)
        elapsed_s = clock() - started_at
        with suppress(SuiteUnreachable):  # operations does not run in every suite
            self.dead_lettered = await read_parked_booking_ids(self.suite)
        await self.poll()
        return elapsed_s

    async def _poll_at_rest(self) -> Reconciliation | None:
        with suppress(SuiteUnreachable):
            if not (await self.poll()).pending:
                return self.reconciliation
        return None
