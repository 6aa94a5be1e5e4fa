"""Takes everything off one queue, whatever it is, and keeps at it until it is safe: nothing is ever sent back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, MessageProcessError

from prebook.messaging.errors import spelled
from prebook.messaging.recoverability.dead_letter import Death, Parcel
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.connection import Link, connected

Take = Callable[[Parcel], Awaitable[None]]
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
log = structlog.get_logger()


class Collector:
    """``take`` returns once the parcel is committed; it is acknowledged then, and only then.

    While ``take`` raises, the parcel waits here unacknowledged. Giving it back would count as a failed delivery at
    the broker, and the broker drops what failed too often.
    """

    def __init__(self, url: str, service: str, queue: str, prefetch: int, take: Take) -> None:
        self._queue, self._prefetch, self._take = queue, prefetch, take
        self.link = Link(url, f"{service} collects", self._opened, connect=connected)

    async def _opened(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await channel.get_queue(self._queue, ensure=False)
        await queue.consume(self._collect)
        return [channel]

    async def _collect(self, message: AbstractIncomingMessage) -> None:
        parcel, pause = parcel_of(message), FIRST_PAUSE_S
        while not message.channel.is_closed:
            try:
                await self._take(parcel)
                return await self._acknowledge(message)
            except Exception as error:  # noqa: BLE001 - whatever it was, the parcel must not be lost
                log.warning("cannot take in", queue=self._queue, error=spelled(error), again_in_s=pause)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_S, pause * 2)
        return None

    async def _acknowledge(self, message: AbstractIncomingMessage) -> None:
        """Where the channel is gone the parcel comes again, and is known by then if it was taken in."""
        try:
            await message.ack()
        except (AMQPError, MessageProcessError, ConnectionError) as error:
            log.warning("not acknowledged", queue=self._queue, error=spelled(error))


def parcel_of(message: AbstractIncomingMessage) -> Parcel:
    wire = from_amqp(message)
    deaths = tuple(_deaths(message.headers.get("x-death")))
    return Parcel(message.routing_key or "", wire.headers, wire.body, deaths, _aware(message.timestamp))


def _deaths(told: Any) -> Iterator[Death]:
    for death in told if isinstance(told, list) else ():
        if isinstance(death, Mapping):
            yield _death(death)


def _death(told: Mapping[str, Any]) -> Death:
    keys, count = told.get("routing-keys"), told.get("count")
    return Death(
        queue=_text(told.get("queue")),
        exchange=_text(told.get("exchange")),
        key=_text(keys[0]) if isinstance(keys, list) and keys else "",
        reason=_text(told.get("reason")),
        count=count if isinstance(count, int) else 1,
        at=_aware(told.get("time")),
    )


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _aware(at: Any) -> datetime | None:
    """The broker's times have no zone and are UTC."""
    if not isinstance(at, datetime):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
