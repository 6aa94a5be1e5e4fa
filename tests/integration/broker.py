"""The broker as its administrator sees it: listens in, sends anything to anybody; and what operations took in."""

import asyncio
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from prebook.contracts.dead_letters import DeadLetterPage, DeadLetterSummary, DeadLetterView
from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage
from tests.conditions import eventually
from tests.integration.books import Books

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
    """``operations``: its HTTP. ``books``: to take out what a test expected to be parked."""

    def __init__(self, channel: AbstractChannel, operations: httpx.AsyncClient, books: Books) -> None:
        self._channel, self._operations, self._books = channel, operations, books

    async def tap(self, *bindings: tuple[str, str]) -> AbstractQueue:
        """A subscriber's queue of our own, bound to (exchange, routing key); nobody who sends knows of it."""
        queue = await self._channel.declare_queue(exclusive=True)
        for exchange, key in bindings:
            await queue.bind(exchange, key)
        return queue

    async def send(self, exchange: str, key: str, wire: WireMessage, times: int = 1) -> None:
        """Confirmed by the broker; raises where it goes nowhere."""
        headers: dict[str, Any] = dict(wire.headers)
        message = Message(wire.body, headers=headers, delivery_mode=DeliveryMode.PERSISTENT)
        target = await self._channel.get_exchange(exchange, ensure=False)
        for _ in range(times):
            async with asyncio.timeout(10):
                await target.publish(message, key, mandatory=True)

    async def dead_letter(self, exchange: str, key: str, queue: str, wire: WireMessage) -> None:
        """By the broker itself, as if from ``queue``: it expires in a queue of ours that is bound to the address."""
        arguments: Any = {
            "x-message-ttl": 0,
            "x-dead-letter-exchange": addresses.PARKING,
            "x-dead-letter-routing-key": queue,
        }
        dying = await self._channel.declare_queue(exclusive=True, arguments=arguments)
        await dying.bind(exchange, key)
        await self.send(exchange, key, wire)

    async def again(self, messages: Iterable[Heard], times: int) -> None:
        for message in messages:
            await self.send(message.exchange, message.key, WireMessage(message.headers, message.body), times)

    async def parked(self, count: int, within_s: float = 15.0) -> list[Heard]:
        """Taken in by operations, and taken out there; there must be as many and no more.

        Those too many are taken out as well: they are this test's failure, and not the next one's.
        """
        await eventually(lambda: self._at_least(count), within_s)
        lines = await self._lines()
        found = [await self._view(line.id) for line in lines]
        await self._books.connection.execute(
            "DELETE FROM operations.dead_letter WHERE id = ANY($1)", [n.id for n in lines]
        )
        assert len(lines) == count, [(line.queue, line.cause, line.message_id) for line in lines]
        return found

    async def _at_least(self, count: int) -> bool:
        return len(await self._lines()) >= count

    async def _lines(self) -> Sequence[DeadLetterSummary]:
        answer = await self._operations.get("/v1/dead-letters", params={"limit": 1000, "in_state": "parked"})
        return msgspec.json.decode(answer.content, type=DeadLetterPage).dead_letters

    async def _view(self, parked_id: int) -> Heard:
        answer = await self._operations.get(f"/v1/dead-letters/{parked_id}")
        view = msgspec.json.decode(answer.content, type=DeadLetterView)
        body = (view.payload.text or "").encode() or b64decode(view.payload.base64 or "")
        return Heard(addresses.PARKING, view.summary.queue, view.headers, body)


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
