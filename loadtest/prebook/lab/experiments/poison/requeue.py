"""Wrong way of the poison experiment: a consumer that requeues a failing message at once and without limit."""

import asyncio
import time

import aio_pika
import msgspec
from aio_pika.abc import AbstractIncomingMessage

from prebook.lab.experiments.poison.messages import POISON
from prebook.messaging import addresses

OTHERS = 50
"""Number of messages behind the poison."""
MIN_DURATION_S = 1.0
PREFETCH = 32


class RequeueCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries of the poison message in ``seconds``, its dead letters, and other messages handled."""

    attempts: int
    parked: int
    others: int
    seconds: float

    @property
    def attempts_per_s(self) -> float:
        """Deliveries of the poison message per second."""
        return self.attempts / self.seconds


async def requeue_poison(amqp_url: str) -> RequeueCounts:
    """Let a consumer requeue one poison message among others for MIN_DURATION_S seconds; count its deliveries."""
    attempts = 0
    handled = 0
    others_handled = asyncio.Event()

    async def handle(message: AbstractIncomingMessage) -> None:
        nonlocal attempts, handled
        if message.message_id == POISON:
            attempts += 1
            await message.reject(requeue=True)
            return
        await message.ack()
        handled += 1
        if handled == OTHERS:
            others_handled.set()

    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.declare_queue(exclusive=True)
        for name in (POISON, *(f"other-{number}" for number in range(OTHERS))):
            await channel.default_exchange.publish(aio_pika.Message(b"", message_id=name), queue.name)
        started_at = time.monotonic()
        await queue.consume(handle)
        await asyncio.gather(others_handled.wait(), asyncio.sleep(MIN_DURATION_S))
        seconds = time.monotonic() - started_at
        parking = await channel.declare_queue(addresses.PARKING_QUEUE, passive=True)
        parked = parking.declaration_result.message_count or 0
    return RequeueCounts(attempts=attempts, parked=parked, others=handled, seconds=round(seconds, 2))
