"""Subscription to one queue, on its own channel."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from aiormq import Channel as RawChannel

OnMessage = Callable[[AbstractIncomingMessage], Awaitable[None]]
DRAIN_TIMEOUT_S = 5.0
"""How long a released partition waits for the messages being handled."""
RESUBSCRIBE_DELAY_S = 0.3
"""The broker activates the next consumer at once; the pause lets other replicas queue up before this one."""


class Subscription:
    """Subscription to one queue with its prefetch. ``open`` it before any other use.

    It takes one message at a time until it gets one that was never delivered before. Redelivered messages are the first
    of the queue, and one of them may have killed its consumer: then no other message is unacknowledged with it.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        queue: str,
        prefetch: int,
        on_message: OnMessage,
        *,
        isolates: bool = True,
        ordered: bool = False,
    ) -> None:
        """``isolates``: take redelivered messages one at a time.

        ``ordered``: the queue has a single active consumer, which must leave no message to its successor.
        """
        self._connection = connection
        self._queue = queue
        self._prefetch = prefetch
        self._on_message = on_message
        self._ordered = ordered
        self._isolates = isolates and prefetch > 1
        self._takes_one = self._isolates
        self._resubscribing = asyncio.Lock()
        self._cancelled = False
        self._tags: list[str] = []
        self._releasing = False
        self._closing = False
        self.active = False
        """Whether a message arrived since the consumer last reset it: a partition delivers to one consumer only."""
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def open(self) -> AbstractChannel:
        """Open the channel and start consuming. Raises AMQPError, ConnectionError."""
        async with self._resubscribing:  # a message may arrive before the consumer is known here
            return await self._open()

    async def _open(self) -> AbstractChannel:
        self.channel = await self._connection.channel(publisher_confirms=False)
        self._tags = []
        await self._consume(1 if self._takes_one else self._prefetch)
        self._raw = _as_raw_channel(await self.channel.get_underlay_channel())
        return self.channel

    async def _consume(self, prefetch: int) -> None:
        """Start one more consumer on the channel: a prefetch holds for the consumers that start after it."""
        await self.channel.set_qos(prefetch_count=prefetch)
        queue = await self.channel.get_queue(self._queue, ensure=False)
        self._tags.append(await queue.consume(self._deliver))

    @property
    def is_alive(self) -> bool:
        """Whether the broker still counts this consumer: it cancels one without notice when the queue is deleted."""
        return self._resubscribing.locked() or (
            not self._raw.is_closed and all(tag in self._raw.consumers for tag in self._tags)
        )

    async def cancel(self) -> None:
        """Take no further message; those being handled may still be settled."""
        self._cancelled = True
        async with self._resubscribing:
            for tag in self._tags:
                if not self._raw.is_closed:
                    await self._raw.basic_cancel(tag)

    def can_settle(self, message: AbstractIncomingMessage) -> bool:
        """Whether the message may be settled: an ack on a channel that is closing would close the connection."""
        return not self._closing and message.channel is self._raw

    async def release(self) -> None:
        """Leave the partition to the next consumer, and subscribe again behind the others.

        The messages being handled are finished, later deliveries are ignored, and then the channel is closed, which
        returns the ignored ones to the head of the queue. After a mere cancel the next consumer would begin behind
        messages that are still being handled here, and overtake them.
        """
        async with self._resubscribing:
            self._takes_one = self._isolates
            await self._open_again(RESUBSCRIBE_DELAY_S)

    async def _take_all_after(self, message: AbstractIncomingMessage) -> None:
        """Take as many messages at a time as the prefetch allows, once one was never delivered before.

        A queue with a single active consumer is left for a moment, so its message is handled first.
        """
        if not self._takes_one or message.redelivered:
            return
        with contextlib.suppress(AMQPError, ConnectionError, RuntimeError):  # the connection is lost, or closing
            await self._take_all()

    async def _take_all(self) -> None:
        async with self._resubscribing:
            if not self._takes_one or self._cancelled:
                return
            self._takes_one = False
            if self._ordered:
                await self._open_again(0.0)
            else:
                await self._consume(self._prefetch - 1)

    async def _open_again(self, pause_s: float) -> None:
        self._releasing = True
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    await self._idle.wait()
            self._closing = True
            await self.channel.close()
            await asyncio.sleep(pause_s)
            await self._open()
        finally:
            self._releasing = self._closing = False

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        if self._releasing:
            return
        self.active = True
        if not self._ordered:
            await self._take_all_after(message)
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._on_message(message)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        if self._ordered:
            await self._take_all_after(message)


def _as_raw_channel(channel: object) -> RawChannel:
    """Return aiormq's channel, which alone knows whether the broker still counts a consumer. Raises TypeError."""
    if not isinstance(channel, RawChannel):
        raise TypeError(f"expected an aiormq channel, not {type(channel).__name__}")
    return channel
