"""Reads the archive's stream from a point in time up to what was its end when the reading began."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from yarl import URL

from prebook.messaging import addresses
from prebook.messaging.channel import Unreachable
from prebook.messaging.errors import spelled
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S
from prebook.rabbit.publisher import RabbitPublisher
from prebook.replay.archived_message import Kept

PREFETCH = 500
"""A stream is read by credit: without prefetch and acknowledgements the broker sends nothing."""
WHOLE_CHUNK = 20_000
"""More than the broker puts into one chunk, so that a round trip behind its first message has all of it before it."""
NEXT_WITHIN_S, ANY_WITHIN_S = 30.0, 3.0
SKEW = timedelta(minutes=5)
"""So much may a service's clock be ahead of the broker's, which marks the places in the stream."""
OFFSET = "x-stream-offset"
Arriving = asyncio.Queue[AbstractIncomingMessage]


async def read(url: str, since: datetime | None = None) -> AsyncIterator[Kept]:
    """Every message that was said from ``since`` on, and some from before. Raises Unreachable."""
    async with _opened(url) as connection:
        newest = await _newest(connection)
        start = _start(newest, since) if newest else None
        if newest and start:
            channel = await connection.channel(publisher_confirms=False)
            async for kept in _until(_kept(newest).offset, await _consuming(channel, start, PREFETCH)):
                yield kept


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[AbstractConnection]:
    """For the time of the block. Raises Unreachable, also for what goes wrong in the block."""
    address = str(URL(url) % {"heartbeat": HEARTBEAT_S})
    try:
        connection = await aio_pika.connect(
            address, timeout=CONNECT_TIMEOUT_S, client_properties={"connection_name": "archive reads"}
        )
        async with connection:
            yield connection
    except (AMQPError, aiormq.exceptions.AMQPError, ConnectionError, TimeoutError) as error:
        raise Unreachable(f"the archive cannot be read: {spelled(error)}") from error


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[RabbitPublisher]:
    """For the time of the block, with a connection of its own. Raises Unreachable where there is none to be had."""
    publisher = RabbitPublisher(url, addresses.ARCHIVIST)
    linked = asyncio.create_task(publisher.link.run())
    try:
        try:
            async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                await publisher.link.up.wait()
        except TimeoutError:
            raise Unreachable(f"no connection to the broker within {2 * CONNECT_TIMEOUT_S:g} s") from None
        yield publisher
    finally:
        linked.cancel()
        await asyncio.wait({linked})


async def _until(end: int, arriving: Arriving) -> AsyncIterator[Kept]:
    """Nothing is taken away: what is acknowledged here is credit for more."""
    while True:
        async with asyncio.timeout(NEXT_WITHIN_S):
            message = await arriving.get()
        kept = _kept(message)
        await message.ack()
        if kept.offset <= end:
            yield kept
        if kept.offset >= end:
            return


async def _newest(connection: AbstractConnection) -> AbstractIncomingMessage | None:
    """None where the archive is empty.

    The last chunk comes as a whole: what the broker answers to a question of ours follows behind all of it.
    """
    channel = await connection.channel(publisher_confirms=False)
    arriving = await _consuming(channel, "last", WHOLE_CHUNK)
    while (newest := await _within(ANY_WITHIN_S, arriving)) is None:
        if await _is_empty(channel):
            return None
    await channel.set_qos(prefetch_count=PREFETCH)
    while not arriving.empty():
        newest = arriving.get_nowait()
    await channel.close()
    return newest


async def _within(seconds: float, arriving: Arriving) -> AbstractIncomingMessage | None:
    try:
        async with asyncio.timeout(seconds):
            return await arriving.get()
    except TimeoutError:
        return None


async def _is_empty(channel: AbstractChannel) -> bool:
    """As far as the broker's count goes, which is a few seconds behind."""
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        queue = await channel.declare_queue(addresses.ARCHIVE_QUEUE, passive=True)
    return not queue.declaration_result.message_count


def _start(newest: AbstractIncomingMessage, since: datetime | None) -> datetime | str | None:
    """Where to begin; None where all is older. A message may be published long after it was said, but never before."""
    published = newest.timestamp
    if since is None or published is None:
        return "first"
    aware = published if published.tzinfo else published.replace(tzinfo=UTC)
    return None if aware < since - SKEW else (since - 2 * SKEW).astimezone(UTC)


async def _consuming(channel: AbstractChannel, start: datetime | str, prefetch: int) -> Arriving:
    """In the stream's order."""
    await channel.set_qos(prefetch_count=prefetch)
    queue = await channel.get_queue(addresses.ARCHIVE_QUEUE, ensure=False)
    arriving: Arriving = asyncio.Queue()
    await queue.consume(arriving.put, arguments={OFFSET: start})
    return arriving


def _kept(message: AbstractIncomingMessage) -> Kept:
    offset = message.headers[OFFSET]
    if not isinstance(offset, int):
        raise TypeError(f"a stream's offset is a number, not {offset!r}")
    return Kept(offset, message.routing_key or "", from_amqp(message))
