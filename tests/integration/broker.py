"""The broker as its administrator sees it: listens in, sends anything to anybody, and empties the parking."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from prebook.messaging.codec import Wire
from prebook.patterns import addresses
from tests.conditions import eventually

EVERYTHING = ((addresses.EVENTS, "#"), (addresses.REQUESTS, "#"), (addresses.REPLIES, "#"))


@dataclass(frozen=True)
class Heard:
    """A message as it was published."""

    exchange: str
    key: str
    headers: dict[str, str]
    body: bytes

    @property
    def conversation(self) -> str:
        return self.headers.get("ce-subject", "")


class Broker:
    def __init__(self, channel: AbstractChannel) -> None:
        self._channel = channel

    async def tap(self, *bindings: tuple[str, str]) -> AbstractQueue:
        """A subscriber's queue of our own, bound to (exchange, routing key); nobody who sends knows of it."""
        queue = await self._channel.declare_queue(exclusive=True)
        for exchange, key in bindings:
            await queue.bind(exchange, key)
        return queue

    async def send(self, exchange: str, key: str, wire: Wire, times: int = 1) -> None:
        """Confirmed by the broker; raises where it goes nowhere."""
        headers: dict[str, Any] = dict(wire.headers)
        message = Message(wire.body, headers=headers, delivery_mode=DeliveryMode.PERSISTENT)
        target = await self._channel.get_exchange(exchange, ensure=False)
        for _ in range(times):
            async with asyncio.timeout(10):
                await target.publish(message, key, mandatory=True)

    async def again(self, messages: Iterable[Heard], times: int) -> None:
        for message in messages:
            await self.send(message.exchange, message.key, Wire(message.headers, message.body), times)

    async def parked(self, count: int, within_s: float = 15.0) -> list[Heard]:
        """Taken out of the parking; there must be as many and no more."""
        queue = await self._channel.get_queue(addresses.PARKED_QUEUE, ensure=False)
        found: list[Heard] = []

        async def enough() -> bool:
            found.extend(await drained(queue))
            return len(found) >= count

        await eventually(enough, within_s)
        assert len(found) == count, [(m.key, m.headers.get("prebook-x-cause")) for m in found]
        return found


async def drained(queue: AbstractQueue) -> list[Heard]:
    """What is in it now, taken out."""
    found = []
    while message := await queue.get(fail=False):
        await message.ack()
        found.append(_heard(message))
    return found


def _heard(message: AbstractIncomingMessage) -> Heard:
    headers = {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in message.headers.items()}
    return Heard(message.exchange or "", message.routing_key or "", headers, message.body)
