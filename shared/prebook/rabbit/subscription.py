"""One queue that is consumed, on a channel of its own."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq import Channel as RawChannel

OnMessage = Callable[[AbstractIncomingMessage], Awaitable[None]]
DRAIN_TIMEOUT_S = 5.0
RESUBSCRIBE_DELAY_S = 0.3
"""The broker's next consumer is active at once; this is for others to come before us in its line."""


class Subscription:
    """``active``: something has come since somebody last looked; of a partition, only the active consumer gets any."""

    def __init__(self, connection: AbstractConnection, queue: str, prefetch: int, on_message: OnMessage) -> None:
        self._connection, self._queue, self._prefetch, self._on_message = connection, queue, prefetch, on_message
        self._releasing = self._closing = self.active = False
        self._in_flight, self._idle = 0, asyncio.Event()
        self._idle.set()

    async def open(self) -> AbstractChannel:
        self.channel = await self._connection.channel(publisher_confirms=False)
        await self.channel.set_qos(prefetch_count=self._prefetch)
        queue = await self.channel.get_queue(self._queue, ensure=False)
        self._tag = await queue.consume(self._deliver)
        self._raw = _as_raw_channel(await self.channel.get_underlay_channel())
        return self.channel

    @property
    def is_alive(self) -> bool:
        """The broker may cancel a consumer without closing anything, when its queue is deleted."""
        return self._releasing or (not self._raw.is_closed and self._tag in self._raw.consumers)

    async def cancel(self) -> None:
        if not self._raw.is_closed:
            await self._raw.basic_cancel(self._tag)

    def can_settle(self, message: AbstractIncomingMessage) -> bool:
        """Whether it may be settled: on a channel that is being closed that would cost us the connection."""
        return not self._closing and message.channel is self._raw

    async def release(self) -> None:
        """To whoever is next in line; then to the end of it.

        What is in hand is finished, what comes meanwhile is left alone, and then the channel is closed: that goes back
        to the head of the queue. After a mere cancel the next one would begin behind it, while we are still at it.
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
    """The client's own channel, which knows whether the broker still counts us as a consumer."""
    if not isinstance(channel, RawChannel):
        raise TypeError(f"expected an aiormq channel, not {type(channel).__name__}")
    return channel
