"""Does an outbox stay small and quick while rows come, are sent and are forgotten for a long time?

The real parts do it: a unit of work stages, the relay claims and marks, the purge forgets. Only the wire is missing:
what the relay hands over is taken at once, so that the table is used as hard as one process can.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.coupling.ports import BROKER_LANE
from prebook.flows import FLOWS, OFFER_SETTLED
from prebook.lab.experiments.outbox_retention.table_probe import OWNER, Cost, Size, cost, size
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, Kind, message_id
from prebook.messaging.observer import Unwatched
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import Claimed
from prebook.messaging.unit_of_work import Begin, Posting
from prebook.patterns import trace
from prebook.postgres.engine import engine_for
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purging
from prebook.postgres.unit_of_work import SqlWork, units_of_work
from prebook.runtime.loops import every, for_ever
from prebook.runtime.retention import common

if TYPE_CHECKING:
    import asyncpg

SERVICE = OFFER_SETTLED.publisher
PLAN = dict.fromkeys(FLOWS, Coupling.ONE_WAY)
SLICES, WRITERS, TOGETHER = 10, 3, 50
"""Looks at the table, units of work at a time, and messages of one."""
AHEAD = 4000
"""Rows that wait for the relay at most: what is measured is a table in use, not a backlog."""
MOST_GROWTH, MOST_DEARER = 1.25, 1.10
"""Of table and indexes from the middle to the end, and of a claim from the first look to the last."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The table after so many rows, at rest. ``rate_per_s``: since the look before."""

    rows: int
    rate_per_s: float
    size: Size
    claim: Cost


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    window_s: float
    purged: int
    looks: list[Look]

    @property
    def growth(self) -> float:
        """Table and indexes at the end, over those in the middle."""
        return self.looks[-1].size.total_bytes / self.looks[len(self.looks) // 2 - 1].size.total_bytes

    @property
    def dearer(self) -> float:
        """Pages that a claim touches at the end, over those at the first look."""
        return self.looks[-1].claim.pages / self.looks[0].claim.pages

    @property
    def holds(self) -> bool:
        return self.growth <= MOST_GROWTH and self.dearer <= MOST_DEARER


class Run:
    """``window_s``: so long are sent rows kept. ``purge_every_s``: how often the purge looks."""

    def __init__(self, url: str, *, window_s: float, purge_every_s: float) -> None:
        self._window_s, self._purge_every_s = window_s, purge_every_s
        self._engine = engine_for(SERVICE, url)
        self._outbox = SqlOutbox(self._engine, OWNER)
        self._purging = Purging(self._engine, common(window_s))
        self._moved, self._purge_rests = asyncio.Event(), asyncio.Lock()
        self.staged = self.sent = self.purged = 0

    async def looks(
        self, rows: int, looking: "asyncpg.Connection[asyncpg.Record]", told: Callable[[Look], None]
    ) -> Outcome:
        """``looking`` sees the table as the service's role, on a connection of its own."""
        found, to_be_claimed = list[Look](), units_of_work(self._engine, SqlWork)
        purging = for_ever("purge", lambda: every(self._purge_every_s, self._purge))
        async with _beside(purging):
            for number in range(1, SLICES + 1):
                began = time.monotonic()
                came = await self._slice(rows * number // SLICES)
                rate = came / (time.monotonic() - began)
                async with self._purge_rests:  # a turn is counted at its end: what it has deleted by now is not
                    claim = await cost(looking, lambda count: self._stage(count, to_be_claimed), self._outbox)
                    self.sent = self.staged
                    look = Look(rows=self.sent, rate_per_s=round(rate), size=await size(looking), claim=claim)
                found.append(look)
                told(look)
        await self._engine.dispose()
        return Outcome(window_s=self._window_s, purged=self.purged, looks=found)

    async def _slice(self, until: int) -> int:
        """Rows that were staged and sent, until there are so many of them."""
        before = self.sent
        relay = Relay(self._outbox, self._send, Unwatched())
        begin = units_of_work(self._engine, SqlWork, relay.taking)
        async with _beside(for_ever("relay", relay.run)):
            await asyncio.gather(*(self._write(until, begin) for _ in range(WRITERS)))
            while self.sent < self.staged or (await self._outbox.depth()).waiting:
                await self._change()
        return self.sent - before

    async def _write(self, until: int, begin: Begin[SqlWork]) -> None:
        while self.staged < until:
            while self.staged - self.sent > AHEAD:
                await self._change()
            await self._stage(TOGETHER, begin)

    async def _stage(self, count: int, begin: Begin[SqlWork]) -> None:
        first = self.staged
        self.staged += count
        async with begin() as work:
            await work.post([_posting(number) for number in range(first, first + count)])

    async def _send(self, _: Claimed) -> None:
        self.sent += 1
        self._moved.set()

    async def _change(self) -> None:
        """Until something was sent, or a moment: the last marks come after the last send."""
        self._moved.clear()
        try:
            async with asyncio.timeout(0.05):
                await self._moved.wait()
        except TimeoutError:
            return

    async def _purge(self) -> None:
        async with self._purge_rests:
            self.purged += await self._purging.turn()


def _posting(number: int) -> Posting:
    conversation, now = f"lab-{number:09}", utc_now()
    envelope = Envelope(
        id=message_id(conversation, OFFER_SETTLED.name),
        kind=Kind.FACT,
        flow=OFFER_SETTLED.name,
        body=OfferSettled(booking_id=conversation, fleet="lab", driver="lab", verdict=OfferVerdict.ACCEPTED),
        source=SERVICE,
        conversation=conversation,
        time=now,
        plan=PLAN,
        traceparent=trace.started(),
    )
    return Posting(envelope, BROKER_LANE, conversation)


@asynccontextmanager
async def _beside(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Started over whatever happens to it, as in a service."""
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
