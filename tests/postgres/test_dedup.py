"""A business operation that is repeated: one message within the window; past it a second one, which the inbox drops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from prebook.contracts.events import OfferSettled, OfferVerdict
from prebook.contracts.plan import Coupling
from prebook.coupling.one_way import OneWay
from prebook.flows import OFFER_SETTLED
from prebook.messaging import addresses
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import decode
from prebook.messaging.gateway import create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.staging import MessageContext
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.patterns import trace
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purger
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.runtime.retention import common_purges
from prebook.testing.broker import MemoryBroker
from prebook.testing.configuration import make_policies
from tests.conditions import poll_until, wait_until
from tests.databases import Databases, role_url
from tests.messaging.examples import PLAN

PRODUCER, (RECEIVER,) = OFFER_SETTLED.publisher, OFFER_SETTLED.subscribers
QUEUE = addresses.event_queue(RECEIVER)


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_migrated(PRODUCER, RECEIVER)


@dataclass(frozen=True)
class Perform:
    """Command: tell that an operation was performed."""

    operation: str


async def perform(_: HandlerContext, command: Perform, __: SqlUnitOfWork) -> HandlerResult:
    event = OfferSettled(booking_id=command.operation, fleet="ada", driver="d", verdict=OfferVerdict.ACCEPTED)
    return HandlerResult(events=(OFFER_SETTLED.new_event(event),))


class Both:
    """A producer and a receiver on real tables, and what goes over the wire between them."""

    def __init__(self, url: str) -> None:
        self._engines = {name: create_engine(name, role_url(url, name)) for name in (PRODUCER, RECEIVER)}
        self.wire = MemoryBroker()
        self.wire.bind(addresses.EVENTS, addresses.event_routing_key(OFFER_SETTLED.name), QUEUE)
        self.effects: list[str] = []
        channels = {Coupling.ONE_WAY: OneWay(self.wire)}
        begin = {name: unit_of_work_factory(engine, SqlUnitOfWork) for name, engine in self._engines.items()}
        speaks: Handlers[SqlUnitOfWork] = Handlers(on_command={Perform: HandlerSpec(perform)})
        hears: Handlers[SqlUnitOfWork] = Handlers(on_event={OFFER_SETTLED: HandlerSpec(self._settled)})
        units = {name: UnitsOfWork.of_one(begin) for name, begin in begin.items()}
        self.producer = create_gateway(PRODUCER, speaks, units[PRODUCER], channels, make_policies())
        self.receiver = create_gateway(RECEIVER, hears, units[RECEIVER], channels, make_policies())
        self.outbox = SqlOutbox(self._engines[PRODUCER], "relay")
        self.relay = Relay(self.outbox, NullObserver())

    async def perform(self, operation: str) -> None:
        """The same operation, whoever repeats it and why: its message has the same id."""
        context = MessageContext(operation, PLAN, trace.new_traceparent(), utc_now())
        await self.producer.execute(Perform(operation), context)
        self.relay.wake()

    async def purge(self, window_s: float) -> int:
        """As the process does it, with its window."""
        return await Purger(self._engines[PRODUCER], common_purges(window_s)).purge_due()

    async def rows(self) -> int:
        async with self._engines[PRODUCER].connect() as connection:
            return int((await connection.execute(text("SELECT count(*) FROM outbox"))).scalar_one())

    async def sent(self) -> bool:
        return not (await self.outbox.read_depth()).waiting

    async def delivered(self) -> int:
        """How many messages came, all handed to the receiver."""
        queue = self.wire.queues[QUEUE]
        for wire in list(queue):
            await self.receiver.process(decode(wire))
        return len(queue)

    async def _settled(self, context: HandlerContext, _: Any, __: SqlUnitOfWork) -> HandlerResult:
        self.effects.append(context.conversation_id)
        return HandlerResult()

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.dispose()


@asynccontextmanager
async def both(url: str) -> AsyncIterator[Both]:
    running = Both(url)
    task = asyncio.create_task(running.relay.run(running.producer.dispatch))
    try:
        yield running
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await running.close()


async def test_repeated_within_the_window_it_is_one_message(url: str) -> None:
    async with both(url) as running:
        for _ in range(3):
            await running.perform("within")
            await poll_until(running.sent)
            assert await running.purge(window_s=60.0) == 0
        assert await running.delivered() == 1
        assert running.effects == ["within"]


async def test_repeated_past_the_window_it_is_a_second_message_which_the_inbox_drops(url: str) -> None:
    async with both(url) as running:
        await running.perform("past")
        await poll_until(running.sent)
        await poll_until(lambda: _forgotten(running, 0.2))
        await running.perform("past")
        await wait_until(lambda: len(running.wire.queues[QUEUE]) == 2)
        assert await running.delivered() == 2
        assert running.effects == ["past"], "the second one had been admitted before"


async def _forgotten(running: Both, window_s: float) -> bool:
    """Every row: one of another test's is no proof that ours is gone."""
    await running.purge(window_s)
    return not await running.rows()
