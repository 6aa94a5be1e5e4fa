"""Consumers in the lab's process that work on one message at a time, and record the order of their effects."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage

PREFETCH = 4
"""Messages that a consumer has from each queue: the next one is there when the work on one ends."""


@dataclass(frozen=True)
class Effect:
    """Effect of a message, in seconds of a clock that never goes back. ``consumer``: number of the one that had it."""

    position: int
    """Place of the message in the order of publication, from 0."""
    consumer: int
    started_s: float
    ended_s: float


@dataclass
class Workers:
    """Consumers of some queues.

    ``work_s``: seconds of work for each message, by its position. ``read_position``: returns the position of a message.
    ``lost``: position of a message that is acknowledged without an effect, a seeded defect; -1 for none.
    """

    work_s: Sequence[float]
    read_position: Callable[[AbstractIncomingMessage], int]
    lost: int = -1
    effects: list[Effect] = field(default_factory=list)
    """Effects in the order of their ends."""
    acknowledged: int = 0

    @asynccontextmanager
    async def consume(
        self, connection: AbstractConnection, queues: Sequence[str], consumers: int
    ) -> AsyncIterator[None]:
        """Let each consumer subscribe to each queue while the block runs.

        Queue ``n`` is first subscribed to by consumer ``n`` modulo their number: with a single active consumer, the
        queues are spread over the consumers.
        """
        async with AsyncExitStack() as stack:
            channels = list[AbstractChannel]()
            for _ in range(consumers):
                channels.append(await connection.channel())
                stack.push_async_callback(channels[-1].close)
            callbacks = [self._callback(number) for number in range(consumers)]
            for channel in channels:
                await channel.set_qos(prefetch_count=PREFETCH)
            for turn in range(consumers):
                async with asyncio.TaskGroup() as subscriptions:
                    for number, name in enumerate(queues):
                        chosen = (number + turn) % consumers
                        subscriptions.create_task(_subscribe(channels[chosen], name, callbacks[chosen]))
            yield

    def _callback(self, consumer: int) -> Callable[[AbstractIncomingMessage], Awaitable[None]]:
        at_work = asyncio.Lock()

        async def handle(message: AbstractIncomingMessage) -> None:
            async with at_work:
                await self._handle(self.read_position(message), consumer)
                await message.ack()
            self.acknowledged += 1

        return handle

    async def _handle(self, position: int, consumer: int) -> None:
        started_s = time.monotonic()
        await asyncio.sleep(self.work_s[position])
        if position != self.lost:
            self.effects.append(Effect(position, consumer, started_s, time.monotonic()))


async def _subscribe(
    channel: AbstractChannel, name: str, callback: Callable[[AbstractIncomingMessage], Awaitable[None]]
) -> None:
    queue = await channel.get_queue(name, ensure=False)
    await queue.consume(callback)
