"""Does an outbox stay small and quick while rows come, are sent and are forgotten for a long time?

The real parts do it: a unit of work stages, the relay claims and marks, the purge forgets. Only the wire is missing:
what the relay hands over is taken at once, so that the table is used as hard as one process can.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.coupling.ports import BROKER_ROUTE
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments.outbox_retention.table_probe import (
    OWNER,
    ClaimCost,
    OutboxTableSize,
    measure_claim_cost,
    read_table_size,
)
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import BeginUnitOfWork, OutboxMessage
from prebook.patterns import trace
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purger
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.runtime.loops import run_every, run_forever
from prebook.runtime.retention import common_purges

if TYPE_CHECKING:
    import asyncpg

SERVICE = OFFER_SETTLED.publisher
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
SAMPLE_COUNT = 10
WRITERS = 3
"""Units of work at a time."""
ROWS_PER_TRANSACTION = 50
MAX_BACKLOG = 4000
"""Rows that wait for the relay at most: what is measured is a table in use, not a backlog."""
MAX_GROWTH = 1.25
"""Of table and indexes, from the middle to the end."""
MAX_CLAIM_COST_RATIO = 1.10
"""Pages that a claim touches at the last sample, over those at the first."""


class TableSample(msgspec.Struct, frozen=True, kw_only=True):
    """The table after so many rows, at rest. ``rate_per_s``: since the look before."""

    rows: int
    rate_per_s: float
    size: OutboxTableSize
    claim_cost: ClaimCost


class RetentionResult(msgspec.Struct, frozen=True, kw_only=True):
    retention_s: float
    purged: int
    samples: list[TableSample]

    @property
    def growth(self) -> float:
        """Table and indexes at the end, over those in the middle."""
        return self.samples[-1].size.total_bytes / self.samples[len(self.samples) // 2 - 1].size.total_bytes

    @property
    def claim_cost_ratio(self) -> float:
        """Pages that a claim touches at the end, over those at the first look."""
        return self.samples[-1].claim_cost.pages / self.samples[0].claim_cost.pages

    @property
    def within_limits(self) -> bool:
        return self.growth <= MAX_GROWTH and self.claim_cost_ratio <= MAX_CLAIM_COST_RATIO


class RetentionRun:
    """``retention_s``: how long sent rows are kept. ``purge_interval_s``: seconds between two purges."""

    def __init__(self, url: str, *, retention_s: float, purge_interval_s: float) -> None:
        self._retention_s = retention_s
        self._purge_interval_s = purge_interval_s
        self._engine = create_engine(SERVICE, url)
        self._outbox = SqlOutbox(self._engine, OWNER)
        self._purger = Purger(self._engine, common_purges(retention_s))
        self._row_sent = asyncio.Event()
        self._purge_lock = asyncio.Lock()
        self.enqueued = 0
        self.sent = 0
        self.purged = 0

    async def run(
        self, rows: int, connection: "asyncpg.Connection[asyncpg.Record]", on_sample: Callable[[TableSample], None]
    ) -> RetentionResult:
        """``connection`` sees the table as the service's role."""
        found = list[TableSample]()
        to_be_claimed = unit_of_work_factory(self._engine, SqlUnitOfWork)
        purging = run_forever("purge", lambda: run_every(self._purge_interval_s, self._purge))
        async with run_in_background(purging):
            for number in range(1, SAMPLE_COUNT + 1):
                began = time.monotonic()
                came = await self._run_slice(rows * number // SAMPLE_COUNT)
                rate = came / (time.monotonic() - began)
                async with self._purge_lock:  # a turn is counted at its end: what it has deleted by now is not
                    claim = await measure_claim_cost(
                        connection, lambda count: self._enqueue(count, to_be_claimed), self._outbox
                    )
                    self.sent = self.enqueued
                    look = TableSample(
                        rows=self.sent, rate_per_s=round(rate), size=await read_table_size(connection), claim_cost=claim
                    )
                found.append(look)
                on_sample(look)
        await self._engine.dispose()
        return RetentionResult(retention_s=self._retention_s, purged=self.purged, samples=found)

    async def _run_slice(self, target: int) -> int:
        """Rows that were staged and sent, until there are so many of them."""
        before = self.sent
        relay = Relay(self._outbox, NullObserver())
        begin = unit_of_work_factory(self._engine, SqlUnitOfWork, relay.hand_off)
        async with run_in_background(run_forever("relay", lambda: relay.run(self._send))):
            await asyncio.gather(*(self._write_rows(target, begin) for _ in range(WRITERS)))
            while self.sent < self.enqueued or (await self._outbox.read_depth()).waiting:
                await self._wait_for_progress()
        return self.sent - before

    async def _write_rows(self, target: int, begin: BeginUnitOfWork[SqlUnitOfWork]) -> None:
        while self.enqueued < target:
            while self.enqueued - self.sent > MAX_BACKLOG:
                await self._wait_for_progress()
            await self._enqueue(ROWS_PER_TRANSACTION, begin)

    async def _enqueue(self, count: int, begin: BeginUnitOfWork[SqlUnitOfWork]) -> None:
        first = self.enqueued
        self.enqueued += count
        async with begin() as work:
            await work.enqueue([_outbox_message(number) for number in range(first, first + count)])

    async def _send(self, _: LeasedRow) -> None:
        self.sent += 1
        self._row_sent.set()

    async def _wait_for_progress(self) -> None:
        """Until something was sent, or a moment: the last marks come after the last send."""
        self._row_sent.clear()
        try:
            async with asyncio.timeout(0.05):
                await self._row_sent.wait()
        except TimeoutError:
            return

    async def _purge(self) -> None:
        async with self._purge_lock:
            self.purged += await self._purger.purge_due()


def _outbox_message(number: int) -> OutboxMessage:
    conversation_id = f"lab-{number:09}"
    envelope = Envelope(
        id=message_id(conversation_id, OFFER_SETTLED.name),
        kind=MessageKind.EVENT,
        flow=OFFER_SETTLED.name,
        body=OfferSettled(booking_id=conversation_id, fleet="lab", driver="lab", verdict=OfferVerdict.ACCEPTED),
        source=SERVICE,
        conversation_id=conversation_id,
        time=utc_now(),
        plan=PLAN,
        traceparent=trace.new_traceparent(),
    )
    return OutboxMessage(envelope, BROKER_ROUTE, conversation_id)
