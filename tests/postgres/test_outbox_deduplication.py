"""A repeated operation sends one message within the deduplication window; a later one is dropped by the inbox."""

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
from prebook.patterns.trace import TraceContext
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
    """Command to publish that an operation was performed."""

    operation: str


async def perform(_: HandlerContext, command: Perform, __: SqlUnitOfWork) -> HandlerResult:
    event = OfferSettled(booking_id=command.operation, fleet="ada", driver="d", verdict=OfferVerdict.ACCEPTED)
    return HandlerResult(events=(OFFER_SETTLED.new_event(event),))


class ProducerAndReceiver:
    """A producer and a receiver on real tables, connected by a broker in memory."""

    def __init__(self, url: str) -> None:
        self._engines = {name: create_engine(name, role_url(url, name)) for name in (PRODUCER, RECEIVER)}
        self.broker = MemoryBroker()
        self.broker.bind(addresses.EVENTS, addresses.event_routing_key(OFFER_SETTLED.name), QUEUE)
        self.effects: list[str] = []
        channels = {Coupling.ONE_WAY: OneWay(self.broker)}
        begin = {name: unit_of_work_factory(engine, SqlUnitOfWork) for name, engine in self._engines.items()}
        producer_handlers: Handlers[SqlUnitOfWork] = Handlers(on_command={Perform: HandlerSpec(perform)})
        receiver_handlers: Handlers[SqlUnitOfWork] = Handlers(
            on_event={OFFER_SETTLED: HandlerSpec(self._record_effect)}
        )
        units = {name: UnitsOfWork.of_one(begin) for name, begin in begin.items()}
        self.producer = create_gateway(PRODUCER, producer_handlers, units[PRODUCER], channels, make_policies())
        self.receiver = create_gateway(RECEIVER, receiver_handlers, units[RECEIVER], channels, make_policies())
        self.outbox = SqlOutbox(self._engines[PRODUCER], "relay")
        self.relay = Relay(self.outbox, NullObserver())

    async def perform(self, operation: str) -> None:
        """Perform an operation; the message of a repetition has the same id."""
        context = MessageContext(operation, PLAN, TraceContext().child(), utc_now())
        await self.producer.execute(Perform(operation), context)
        self.relay.wake()

    async def purge(self, window_s: float) -> int:
        """Purge sent rows after ``window_s`` seconds, as the service does; return their number."""
        return await Purger(self._engines[PRODUCER], common_purges(window_s)).purge_due()

    async def count_rows(self) -> int:
        async with self._engines[PRODUCER].connect() as connection:
            return int((await connection.execute(text("SELECT count(*) FROM outbox"))).scalar_one())

    async def is_all_sent(self) -> bool:
        return not (await self.outbox.read_depth()).waiting

    async def deliver(self) -> int:
        """Deliver all messages of the queue to the receiver; return their number."""
        queue = self.broker.queues[QUEUE]
        for message in list(queue):
            await self.receiver.process(decode(message))
        return len(queue)

    async def _record_effect(self, context: HandlerContext, _: Any, __: SqlUnitOfWork) -> HandlerResult:
        self.effects.append(context.conversation_id)
        return HandlerResult()

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.dispose()


@asynccontextmanager
async def open_pair(url: str) -> AsyncIterator[ProducerAndReceiver]:
    pair = ProducerAndReceiver(url)
    task = asyncio.create_task(pair.relay.run(pair.producer.dispatch))
    try:
        yield pair
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pair.close()


async def test_repetitions_within_the_window_send_one_message(url: str) -> None:
    async with open_pair(url) as pair:
        for _ in range(3):
            await pair.perform("within")
            await poll_until(pair.is_all_sent)
            assert await pair.purge(window_s=60.0) == 0
        assert await pair.deliver() == 1
        assert pair.effects == ["within"]


async def test_a_repetition_after_the_window_sends_a_second_message_without_effect(url: str) -> None:
    async with open_pair(url) as pair:
        await pair.perform("past")
        await poll_until(pair.is_all_sent)
        await poll_until(lambda: _is_purged(pair, 0.2))
        await pair.perform("past")
        await wait_until(lambda: len(pair.broker.queues[QUEUE]) == 2)
        assert await pair.deliver() == 2
        assert pair.effects == ["past"], "the inbox already holds the id of the second message"


async def _is_purged(pair: ProducerAndReceiver, window_s: float) -> bool:
    """Purge, and return whether no row is left; rows of another test would prove nothing."""
    await pair.purge(window_s)
    return not await pair.count_rows()
