"""One queue that is consumed, on a channel of its own."""

import asyncio
from collections.abc import Awaitable, Callable

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq import Channel as RawChannel

Taken = Callable[[AbstractIncomingMessage], Awaitable[None]]
LET_OTHERS_S = 0.3
"""The broker's next consumer is active at once; this is for others to come before us in its line."""


class Subscription:
    """``active``: something has come since somebody last looked; of a partition, only the active consumer gets any."""

    def __init__(self, connection: AbstractConnection, queue: str, prefetch: int, taken: Taken) -> None:
        self._connection, self._queue, self._prefetch, self._taken = connection, queue, prefetch, taken
        self._ceding = False
        self.active = False

    async def open(self) -> AbstractChannel:
        self.channel = await self._connection.channel(publisher_confirms=False)
        await self.channel.set_qos(prefetch_count=self._prefetch)
        queue = await self.channel.get_queue(self._queue, ensure=False)
        self._tag = await queue.consume(self._take)
        self._raw = _raw(await self.channel.get_underlay_channel())
        return self.channel

    @property
    def alive(self) -> bool:
        """The broker may cancel a consumer without closing anything, when its queue is deleted."""
        return self._ceding or (not self._raw.is_closed and self._tag in self._raw.consumers)

    async def cancel(self) -> None:
        if not self._raw.is_closed:
            await self._raw.basic_cancel(self._tag)

    async def cede(self) -> None:
        """To whoever is next in line; then to the end of it.

        The channel is closed rather than the consumer cancelled: what is in hand goes back to the head of the queue, so
        that the next one begins with it. After a cancel it would begin behind it, while we are still at it.
        """
        self._ceding = True
        try:
            await self.channel.close()
            await asyncio.sleep(LET_OTHERS_S)
            await self.open()
        finally:
            self._ceding = False

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self.active = True
        await self._taken(message)


def _raw(channel: object) -> RawChannel:
    """The client's own channel, which knows whether the broker still counts us as a consumer."""
    if not isinstance(channel, RawChannel):
        raise TypeError(f"expected an aiormq channel, not {type(channel).__name__}")
    return channel
