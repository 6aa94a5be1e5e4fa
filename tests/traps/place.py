"""A queue of our own at the suite's broker, with consumers as the services have them, and the suite's delays behind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import NullObserver
from prebook.rabbit.consumer import RabbitConsumer
from prebook.rabbit.publisher import RabbitPublisher
from prebook.testing.configuration import make_policies
from tests.integration.broker_probe import BrokerProbe
from tests.integration.suite import Suite
from tests.messaging.examples import request

ATTEMPTS, PAUSE_S = 4, 0.2
"""``PAUSE_S`` is a rung of the suite's ladder."""


@dataclass(frozen=True)
class Place:
    """``url`` is the administrator's. What is parked from here is taken in by the suite's operations."""

    queue: AbstractQueue
    channel: AbstractChannel
    url: str

    @asynccontextmanager
    async def consuming(
        self,
        door: MessageHandler,
        *,
        consumers: int = 1,
        prefetch: int = 1,
        pause_s: float = PAUSE_S,
        patience_s: float = 5.0,
    ) -> AsyncIterator[list[RabbitConsumer]]:
        """So many consumers, each with connections of its own, as so many processes would have.

        ``patience_s``: so long, in the end, they wait for what they have in hand.
        """
        async with AsyncExitStack() as running:
            started = (self._consumer(door, prefetch, pause_s, patience_s) for _ in range(consumers))
            yield [await running.enter_async_context(consumer) for consumer in started]

    @asynccontextmanager
    async def _consumer(
        self, door: MessageHandler, prefetch: int, pause_s: float, patience_s: float
    ) -> AsyncIterator[RabbitConsumer]:
        publisher = RabbitPublisher(self.url, "traps")
        consumer = RabbitConsumer(
            self.url,
            "traps",
            {self.queue.name: prefetch},
            door,
            publisher=publisher,
            policies=make_policies(max_attempts=ATTEMPTS, backoff_s=(pause_s,)),
            observer=NullObserver(),
        )
        async with (
            linked(publisher.connection.run, publisher.connection.up),
            linked(consumer.connection.run, consumer.connection.up),
        ):
            yield consumer
            await consumer.stop(patience_s)

    async def send(self, broker: BrokerProbe, *envelopes: Envelope) -> None:
        for envelope in envelopes:
            await self.put(broker, encode(envelope))

    async def put_into(self, queue: str) -> None:
        """Anything, by the client's own means. Raises its DeliveryError where the queue is full."""
        await self.channel.default_exchange.publish(Message(b"{}"), queue)

    async def put(self, broker: BrokerProbe, wire: WireMessage) -> None:
        await broker.send(addresses.REDELIVER, self.queue.name, wire)


@dataclass
class Handler:
    """A door that notes what comes through it. ``failing``: ids that it fails on, always."""

    failing: frozenset[str] = frozenset()
    tries: list[tuple[str, int]] = field(default_factory=list)
    """(message id, attempt), in the order in which handling began."""

    async def __call__(self, envelope: Envelope) -> None:
        self.tries.append((envelope.id, envelope.attempt))
        if envelope.id in self.failing:
            raise ValueError("it always fails")

    @property
    def ids(self) -> list[str]:
        return [message_id for message_id, _ in self.tries]


def named(name: str) -> Envelope:
    """A request with an id that no other test has."""
    conversation = f"{name}-{uuid4().hex[:8]}"
    return request(conversation, id=f"{conversation}.notify_rider")


@asynccontextmanager
async def placed(connection: AbstractConnection, suite: Suite) -> AsyncIterator[Place]:
    channel = await connection.channel()
    queue = await channel.declare_queue(f"traps.{uuid4().hex[:8]}", durable=True)
    try:
        await queue.bind(addresses.REDELIVER, queue.name)
        yield Place(queue, channel, suite.state.amqp_url)
    finally:
        await queue.delete(if_unused=False, if_empty=False)


@asynccontextmanager
async def linked(run: Callable[[], Awaitable[None]], up: asyncio.Event) -> AsyncIterator[None]:
    """A link as long as the block runs; within, it is up."""
    task = asyncio.ensure_future(run())
    try:
        async with asyncio.timeout(10):
            await up.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
