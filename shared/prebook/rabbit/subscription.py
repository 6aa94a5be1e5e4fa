"""Subscription to one queue, on its own channel."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq import Channel as RawChannel

OnMessage = Callable[[AbstractIncomingMessage], Awaitable[None]]
DRAIN_TIMEOUT_S = 5.0
"""How long a released partition waits for the messages being handled."""
RESUBSCRIBE_DELAY_S = 0.3
"""The broker activates the next consumer at once; the pause lets other replicas queue up before this one."""


class Subscription:
    """Subscription to one queue with its prefetch. ``open`` it before any other use."""

    def __init__(self, connection: AbstractConnection, queue: str, prefetch: int, on_message: OnMessage) -> None:
        self._connection = connection
        self._queue = queue
        self._prefetch = prefetch
        self._on_message = on_message
        self._releasing = False
        self._closing = False
        self.active = False
        """Whether a message arrived since the consumer last reset it: a partition delivers to one consumer only."""
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> AbstractChannel:
        """Open the channel and start consuming. Raises AMQPError, ConnectionError."""
        self.channel = await self._connection.channel(publisher_confirms=False)
        await self.channel.set_qos(prefetch_count=self._prefetch)
        queue = await self.channel.get_queue(self._queue, ensure=False)
        self._tag = await queue.consume(self._deliver)
        self._raw = _as_raw_channel(await self.channel.get_underlay_channel())
        return self.channel

    @property
    def is_alive(self) -> bool:
        """Whether the broker still counts this consumer: it cancels one without notice when the queue is deleted."""
        return self._releasing or (not self._raw.is_closed and self._tag in self._raw.consumers)

    async def cancel(self) -> None:
        """Take no further message; those being handled may still be settled."""
        if not self._raw.is_closed:
            await self._raw.basic_cancel(self._tag)

    def can_settle(self, message: AbstractIncomingMessage) -> bool:
        """Whether the message may be settled: an ack on a channel that is closing would close the connection."""
        return not self._closing and message.channel is self._raw

    async def release(self) -> None:
        """Leave the partition to the next consumer, and subscribe again behind the others.

        The messages being handled are finished, later deliveries are ignored, and then the channel is closed, which
        returns the ignored ones to the head of the queue. After a mere cancel the next consumer would begin behind
        messages that are still being handled here, and overtake them.
        """
        self._releasing = True
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    await self._idle.wait()
            self._closing = True
            await self.channel.close()
            await asyncio.sleep(RESUBSCRIBE_DELAY_S)
            await self.open()
        finally:
            self._releasing = self._closing = False

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        if self._releasing:
            return
        self.active = True
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._on_message(message)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()


def _as_raw_channel(channel: object) -> RawChannel:
    """Return aiormq's channel, which alone knows whether the broker still counts a consumer. Raises TypeError."""
    if not isinstance(channel, RawChannel):
        raise TypeError(f"expected an aiormq channel, not {type(channel).__name__}")
    return channel
