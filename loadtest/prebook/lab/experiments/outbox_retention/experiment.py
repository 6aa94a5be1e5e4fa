"""Runner of the outbox-retention experiment: is an outbox small and fast while rows are enqueued, sent and purged?

The unit of work, relay and purge are the real ones. Only the broker is missing: every row counts as sent at once, so
that the table is the bottleneck.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from prebook.coupling.ports import BROKER_ROUTE
from prebook.flows import OFFER_SETTLED
from prebook.lab.background import run_in_background
from prebook.lab.experiments.events import offer_settled, offer_settled_envelope
from prebook.lab.experiments.outbox_retention.table_probe import (
    OWNER,
    ClaimCost,
    OutboxTableSize,
    measure_claim_cost,
    read_table_size,
)
from prebook.messaging.envelope import message_id
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import BeginUnitOfWork, OutboxMessage
from prebook.patterns.trace import TraceContext
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purger
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.runtime.loops import run_every, run_forever
from prebook.runtime.retention import common_purges

if TYPE_CHECKING:
    import asyncpg

SERVICE = OFFER_SETTLED.publisher

SAMPLE_COUNT = 10
WRITERS = 3
"""Number of concurrent units of work."""
ROWS_PER_TRANSACTION = 50
MAX_BACKLOG = 4000
"""Largest number of waiting rows, so that the experiment measures a table in use and not a backlog."""
MAX_GROWTH = 1.25
"""Limit of the growth of table and indexes once the retention window is full and the table was vacuumed."""
MAX_CLAIM_COST_RATIO = 1.10
"""Limit of the pages that the last claim touches relative to the first."""


class TableSample(msgspec.Struct, frozen=True, kw_only=True):
    """The table after ``rows`` sent rows, without activity; ``rate_per_s`` is the rate since the previous sample."""

    rows: int
    rate_per_s: float
    size: OutboxTableSize
    claim_cost: ClaimCost


class RetentionResult(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of a run, and the number of purged rows."""

    retention_s: float
    purged: int
    samples: list[TableSample]

    @property
    def full_at(self) -> int | None:
        """Index of the first sample, from the middle on, at which the retention window is full and was vacuumed.

        A vacuum alone makes the space of purged rows usable again; until the first, any table grows.
        """
        middle = len(self.samples) // 2 - 1
        vacuums = self.samples[0].size.vacuums
        return next((i for i in range(middle, len(self.samples)) if self.samples[i].size.vacuums > vacuums), None)

    @property
    def growth(self) -> float:
        """Size of table and indexes at the end relative to ``full_at``; to the middle, if nothing was purged."""
        first = self.full_at if self.purged and self.full_at is not None else len(self.samples) // 2 - 1
        return self.samples[-1].size.total_bytes / self.samples[first].size.total_bytes

    @property
    def claim_cost_ratio(self) -> float:
        """Pages that the last claim touches relative to the first."""
        return self.samples[-1].claim_cost.pages / self.samples[0].claim_cost.pages

    @property
    def within_limits(self) -> bool:
        """Whether growth and claim cost are within their limits."""
        return self.growth <= MAX_GROWTH and self.claim_cost_ratio <= MAX_CLAIM_COST_RATIO


class RetentionRun:
    """One run: sent rows are kept for ``retention_s`` seconds and purged every ``purge_interval_s`` seconds."""

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
        """Send at least ``rows`` rows; call ``on_sample`` with each sample. ``connection`` has the service's role."""
        samples = list[TableSample]()
        without_handoff = unit_of_work_factory(self._engine, SqlUnitOfWork)
        purging = run_forever("purge", lambda: run_every(self._purge_interval_s, self._purge))
        async with run_in_background(purging):
            for number in range(1, SAMPLE_COUNT + 1):
                started_at = time.monotonic()
                sent = await self._run_slice(rows * number // SAMPLE_COUNT)
                rate = sent / (time.monotonic() - started_at)
                async with self._purge_lock:  # a running purge has deleted rows that it has not counted yet
                    claim = await measure_claim_cost(
                        connection, lambda count: self._enqueue(count, without_handoff), self._outbox
                    )
                    self.sent = self.enqueued
                    sample = TableSample(
                        rows=self.sent, rate_per_s=round(rate), size=await read_table_size(connection), claim_cost=claim
                    )
                samples.append(sample)
                on_sample(sample)
        await self._engine.dispose()
        return RetentionResult(retention_s=self._retention_s, purged=self.purged, samples=samples)

    async def _run_slice(self, target: int) -> int:
        """Enqueue and send rows until ``target`` rows are sent; return how many were sent in this slice."""
        sent_before = self.sent
        relay = Relay(self._outbox, NullObserver())
        begin = unit_of_work_factory(self._engine, SqlUnitOfWork, relay.hand_off)
        async with run_in_background(run_forever("relay", lambda: relay.run(self._send))):
            await asyncio.gather(*(self._write_rows(target, begin) for _ in range(WRITERS)))
            while self.sent < self.enqueued or (await self._outbox.read_depth()).waiting:
                await self._wait_for_progress()
        return self.sent - sent_before

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
        """Wait until a row is sent, for at most 50 ms: the last rows are marked after the last send."""
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
    envelope = offer_settled_envelope(
        message_id(conversation_id, OFFER_SETTLED.name),
        offer_settled(conversation_id),
        conversation_id=conversation_id,
        trace=TraceContext().child(),
    )
    return OutboxMessage(envelope, BROKER_ROUTE, conversation_id)
