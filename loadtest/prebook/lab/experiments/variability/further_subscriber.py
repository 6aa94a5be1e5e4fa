"""A further subscriber to requests that are published: it joins while the flow runs, and no sender learns of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from prebook.messaging import addresses
from prebook.messaging.headers import CONVERSATION_ID_HEADER
from prebook.rabbit.amqp_message import from_amqp


@dataclass
class FurtherSubscriber:
    """Subscriber with a queue of its own. ``heard``: conversations of the requests that it has received."""

    joined_at: datetime
    heard: set[str] = field(default_factory=set)

    @classmethod
    @asynccontextmanager
    async def open(cls, amqp_url: str, routing_key: str) -> AsyncIterator[Self]:
        """Subscribe to published messages with a routing key while the block runs."""
        async with await aio_pika.connect(amqp_url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(addresses.EVENTS, routing_key)
            subscriber = cls(datetime.now(UTC))
            await queue.consume(subscriber.receive)
            yield subscriber

    async def receive(self, message: AbstractIncomingMessage) -> None:
        """Note the conversation of a message."""
        self.heard.add(from_amqp(message).headers[CONVERSATION_ID_HEADER])
        await message.ack()

    def knows(self, booking_id: str, offered_at: datetime) -> bool:
        """Return whether the request of a ride has been received, or the ride was offered before this one joined."""
        return offered_at < self.joined_at or booking_id in self.heard
