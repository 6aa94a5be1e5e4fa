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
from prebook.messaging.errors import Unreachable, error_summary
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S
from prebook.rabbit.publisher import RabbitPublisher
from prebook.replay.archived_message import ArchivedMessage

PREFETCH = 500
"""A stream is read by credit: without prefetch and acknowledgements the broker sends nothing."""
CHUNK_PREFETCH = 20_000
"""More than the broker puts into one chunk, so that a round trip behind its first message has all of it before it."""
NEXT_MESSAGE_TIMEOUT_S, FIRST_MESSAGE_TIMEOUT_S = 30.0, 3.0
MAX_CLOCK_SKEW = timedelta(minutes=5)
"""So much may a service's clock be ahead of the broker's, which marks the places in the stream."""
STREAM_OFFSET = "x-stream-offset"
IncomingQueue = asyncio.Queue[AbstractIncomingMessage]


async def read_archive(url: str, since: datetime | None = None) -> AsyncIterator[ArchivedMessage]:
    """Every message that was said from ``since`` on, and some from before. Raises Unreachable."""
    async with _connect(url) as connection:
        newest = await _fetch_newest(connection)
        start = _start_offset(newest, since) if newest else None
        if newest and start:
            channel = await connection.channel(publisher_confirms=False)
            async for kept in _read_until(_archived_message(newest).offset, await _consume(channel, start, PREFETCH)):
                yield kept


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[AbstractConnection]:
    """For the time of the block. Raises Unreachable, also for what goes wrong in the block."""
    address = str(URL(url) % {"heartbeat": HEARTBEAT_S})
    try:
        connection = await aio_pika.connect(
            address, timeout=CONNECT_TIMEOUT_S, client_properties={"connection_name": "archive reader"}
        )
        async with connection:
            yield connection
    except (AMQPError, aiormq.exceptions.AMQPError, ConnectionError, TimeoutError) as error:
        raise Unreachable(f"the archive cannot be read: {error_summary(error)}") from error


@asynccontextmanager
async def open_publisher(url: str) -> AsyncIterator[RabbitPublisher]:
    """For the time of the block, with a connection of its own. Raises Unreachable where there is none to be had."""
    publisher = RabbitPublisher(url, addresses.ARCHIVE_READER)
    linked = asyncio.create_task(publisher.connection.run())
    try:
        try:
            async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                await publisher.connection.up.wait()
        except TimeoutError:
            raise Unreachable(f"no connection to the broker within {2 * CONNECT_TIMEOUT_S:g} s") from None
        yield publisher
    finally:
        linked.cancel()
        await asyncio.wait({linked})


async def _read_until(end: int, incoming: IncomingQueue) -> AsyncIterator[ArchivedMessage]:
    """Nothing is taken away: what is acknowledged here is credit for more."""
    while True:
        async with asyncio.timeout(NEXT_MESSAGE_TIMEOUT_S):
            message = await incoming.get()
        kept = _archived_message(message)
        await message.ack()
        if kept.offset <= end:
            yield kept
        if kept.offset >= end:
            return


async def _fetch_newest(connection: AbstractConnection) -> AbstractIncomingMessage | None:
    """None where the archive is empty.

    The last chunk comes as a whole: what the broker answers to a question of ours follows behind all of it.
    """
    channel = await connection.channel(publisher_confirms=False)
    arriving = await _consume(channel, "last", CHUNK_PREFETCH)
    while (newest := await _next_or_none(FIRST_MESSAGE_TIMEOUT_S, arriving)) is None:
        if await _is_empty(channel):
            return None
    await channel.set_qos(prefetch_count=PREFETCH)
    while not arriving.empty():
        newest = arriving.get_nowait()
    await channel.close()
    return newest


async def _next_or_none(timeout_s: float, incoming: IncomingQueue) -> AbstractIncomingMessage | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await incoming.get()
    except TimeoutError:
        return None


async def _is_empty(channel: AbstractChannel) -> bool:
    """As far as the broker's count goes, which is a few seconds behind."""
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        queue = await channel.declare_queue(addresses.ARCHIVE_QUEUE, passive=True)
    return not queue.declaration_result.message_count


def _start_offset(newest: AbstractIncomingMessage, since: datetime | None) -> datetime | str | None:
    """Where to begin; None where all is older. A message may be published long after it was said, but never before."""
    published = newest.timestamp
    if since is None or published is None:
        return "first"
    aware = published if published.tzinfo else published.replace(tzinfo=UTC)
    return None if aware < since - MAX_CLOCK_SKEW else (since - 2 * MAX_CLOCK_SKEW).astimezone(UTC)


async def _consume(channel: AbstractChannel, start: datetime | str, prefetch: int) -> IncomingQueue:
    """In the stream's order."""
    await channel.set_qos(prefetch_count=prefetch)
    queue = await channel.get_queue(addresses.ARCHIVE_QUEUE, ensure=False)
    arriving: IncomingQueue = asyncio.Queue()
    await queue.consume(arriving.put, arguments={STREAM_OFFSET: start})
    return arriving


def _archived_message(message: AbstractIncomingMessage) -> ArchivedMessage:
    offset = message.headers[STREAM_OFFSET]
    if not isinstance(offset, int):
        raise TypeError(f"a stream's offset is a number, not {offset!r}")
    return ArchivedMessage(offset, message.routing_key or "", from_amqp(message))
