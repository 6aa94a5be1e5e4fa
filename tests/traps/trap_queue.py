"""A queue of the tests at the suite's broker, with the services' consumers and the suite's delay queues."""

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
from prebook.topology.sender_check import accept_any_sender
from tests.integration.broker_probe import BrokerProbe
from tests.integration.suite import Suite
from tests.messaging.examples import request

MAX_ATTEMPTS = 4
RETRY_DELAY_S = 0.2
"""A delay for which the suite has a delay queue."""


@dataclass(frozen=True)
class TrapQueue:
    """A queue of one test. Its dead letters are stored by the suite's operations.

    ``url``: AMQP URL of the administrator.
    """

    queue: AbstractQueue
    channel: AbstractChannel
    url: str

    @asynccontextmanager
    async def run_consumers(
        self,
        handler: MessageHandler,
        *,
        consumers: int = 1,
        prefetch: int = 1,
        delay_s: float = RETRY_DELAY_S,
        stop_timeout_s: float = 5.0,
    ) -> AsyncIterator[list[RabbitConsumer]]:
        """Run consumers while the block runs, each with its own connections, like separate processes.

        ``stop_timeout_s``: how long a stopping consumer waits for the messages being handled.
        """
        async with AsyncExitStack() as running:
            starting = (self._run_consumer(handler, prefetch, delay_s, stop_timeout_s) for _ in range(consumers))
            yield [await running.enter_async_context(consumer) for consumer in starting]

    @asynccontextmanager
    async def _run_consumer(
        self, handler: MessageHandler, prefetch: int, delay_s: float, stop_timeout_s: float
    ) -> AsyncIterator[RabbitConsumer]:
        publisher = RabbitPublisher(self.url, "traps")
        consumer = RabbitConsumer(
            self.url,
            "traps",
            {self.queue.name: prefetch},
            handler,
            publisher=publisher,
            policies=make_policies(max_attempts=MAX_ATTEMPTS, backoff_s=(delay_s,)),
            observer=NullObserver(),
            check_sender=accept_any_sender,
        )
        async with (
            run_connection(publisher.connection.run, publisher.connection.up),
            run_connection(consumer.connection.run, consumer.connection.up),
        ):
            yield consumer
            await consumer.stop(stop_timeout_s)

    async def send(self, broker: BrokerProbe, *envelopes: Envelope) -> None:
        """Publish messages to the queue."""
        for envelope in envelopes:
            await self.send_wire(broker, encode(envelope))

    async def publish_to(self, queue: str) -> None:
        """Publish a message with the client library, which raises DeliveryError if the queue is full."""
        await self.channel.default_exchange.publish(Message(b"{}"), queue)

    async def send_wire(self, broker: BrokerProbe, wire: WireMessage) -> None:
        """Publish an encoded message to the queue."""
        await broker.send(addresses.REDELIVER, self.queue.name, wire)


@dataclass
class RecordingHandler:
    """A message handler that records its calls. ``failing``: ids of the messages for which it always fails."""

    failing: frozenset[str] = frozenset()
    attempts: list[tuple[str, int]] = field(default_factory=list)
    """Pairs of message id and attempt, in the order of the calls."""

    async def __call__(self, envelope: Envelope) -> None:
        self.attempts.append((envelope.id, envelope.attempt))
        if envelope.id in self.failing:
            raise ValueError("this message always fails")

    @property
    def ids(self) -> list[str]:
        return [message_id for message_id, _ in self.attempts]


def unique_request(name: str) -> Envelope:
    """Return a request whose id no other test uses."""
    conversation_id = f"{name}-{uuid4().hex[:8]}"
    return request(conversation_id, id=f"{conversation_id}.notify_rider")


@asynccontextmanager
async def open_trap_queue(connection: AbstractConnection, suite: Suite) -> AsyncIterator[TrapQueue]:
    """Declare a queue, and delete it at the end of the block."""
    channel = await connection.channel()
    queue = await channel.declare_queue(f"traps.{uuid4().hex[:8]}", durable=True)
    try:
        await queue.bind(addresses.REDELIVER, queue.name)
        yield TrapQueue(queue, channel, suite.state.amqp_url)
    finally:
        await queue.delete(if_unused=False, if_empty=False)


@asynccontextmanager
async def run_connection(run: Callable[[], Awaitable[None]], up: asyncio.Event) -> AsyncIterator[None]:
    """Run a connection while the block runs; it is up when the block starts."""
    task = asyncio.ensure_future(run())
    try:
        async with asyncio.timeout(10):
            await up.wait()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
