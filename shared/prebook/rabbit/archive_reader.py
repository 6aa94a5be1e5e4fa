"""Reader of the archive, a RabbitMQ stream: from a point in time up to the end that the stream has at the start."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aio_pika
import aiormq
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError
from yarl import URL

from prebook.coupling.history_publisher import HistoryPublisher
from prebook.coupling.ports import Publisher
from prebook.messaging import addresses
from prebook.messaging.errors import Unreachable, error_summary
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S
from prebook.rabbit.publisher import RabbitPublisher
from prebook.replay.archived_message import ArchivedMessage

PREFETCH = 500
"""Messages. A stream is read by credit: without a prefetch and acknowledgements the broker sends nothing."""
CHUNK_PREFETCH = 20_000
"""Messages: more than one chunk of a stream holds, so that all of a chunk is delivered before the next broker reply."""
NEXT_MESSAGE_TIMEOUT_S = 30.0
FIRST_MESSAGE_TIMEOUT_S = 3.0
MAX_CLOCK_SKEW = timedelta(minutes=5)
"""How far a service's clock may be ahead of the broker's, whose time selects the offset in the stream."""
STREAM_OFFSET = "x-stream-offset"
IncomingQueue = asyncio.Queue[AbstractIncomingMessage]


async def read_archive(url: str, since: datetime | None = None) -> AsyncIterator[ArchivedMessage]:
    """Yield every message since ``since``, or all, in the stream's order; some older ones too. Raises Unreachable."""
    async with _connect(url) as connection:
        newest = await _fetch_newest(connection)
        start = _start_offset(newest, since) if newest else None
        if newest and start:
            channel = await connection.channel(publisher_confirms=False)
            incoming = await _consume(channel, start, PREFETCH)
            async for archived in _read_until(_archived_message(newest).offset, incoming):
                yield archived


@asynccontextmanager
async def _connect(url: str) -> AsyncIterator[AbstractConnection]:
    """Open a connection for the block. Raises Unreachable, also for AMQP errors raised in the block."""
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
async def open_publisher(url: str) -> AsyncIterator[Publisher]:
    """Open a publisher with its own connection for the block. Raises Unreachable without a connection in 10 s."""
    publisher = RabbitPublisher(url, addresses.ARCHIVE_READER)
    running = asyncio.create_task(publisher.connection.run())
    try:
        try:
            async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                await publisher.connection.up.wait()
        except TimeoutError:
            raise Unreachable(f"no connection to the broker within {2 * CONNECT_TIMEOUT_S:g} s") from None
        yield HistoryPublisher(publisher, addresses.ARCHIVE_READER)
    finally:
        running.cancel()
        await asyncio.wait({running})


async def _read_until(end: int, incoming: IncomingQueue) -> AsyncIterator[ArchivedMessage]:
    """Yield messages up to the offset ``end``. An ack gives credit for more, and removes nothing from a stream."""
    while True:
        async with asyncio.timeout(NEXT_MESSAGE_TIMEOUT_S):
            message = await incoming.get()
        archived = _archived_message(message)
        await message.ack()
        if archived.offset <= end:
            yield archived
        if archived.offset >= end:
            return


async def _fetch_newest(connection: AbstractConnection) -> AbstractIncomingMessage | None:
    """Return the newest message of the archive, or None if the archive is empty.

    The broker delivers the last chunk whole, so its reply to ``basic.qos`` arrives after all messages of the chunk.
    """
    channel = await connection.channel(publisher_confirms=False)
    incoming = await _consume(channel, "last", CHUNK_PREFETCH)
    while (newest := await _next_or_none(FIRST_MESSAGE_TIMEOUT_S, incoming)) is None:
        if await _is_empty(channel):
            return None
    await channel.set_qos(prefetch_count=PREFETCH)
    while not incoming.empty():
        newest = incoming.get_nowait()
    await channel.close()
    return newest


async def _next_or_none(timeout_s: float, incoming: IncomingQueue) -> AbstractIncomingMessage | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await incoming.get()
    except TimeoutError:
        return None


async def _is_empty(channel: AbstractChannel) -> bool:
    """Return whether the broker counts no messages; its count lags a few seconds behind."""
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        queue = await channel.declare_queue(addresses.ARCHIVE_QUEUE, passive=True)
    return not queue.declaration_result.message_count


def _start_offset(newest: AbstractIncomingMessage, since: datetime | None) -> datetime | str | None:
    """Return the offset argument to start from, or None if every message is older than ``since``.

    A message may be published long after its event time, and never before it.
    """
    published = newest.timestamp
    if since is None or published is None:
        return "first"
    aware = published if published.tzinfo else published.replace(tzinfo=UTC)
    return None if aware < since - MAX_CLOCK_SKEW else (since - 2 * MAX_CLOCK_SKEW).astimezone(UTC)


async def _consume(channel: AbstractChannel, start: datetime | str, prefetch: int) -> IncomingQueue:
    """Return a queue that fills with the messages from ``start`` on, in the stream's order."""
    await channel.set_qos(prefetch_count=prefetch)
    queue = await channel.get_queue(addresses.ARCHIVE_QUEUE, ensure=False)
    incoming: IncomingQueue = asyncio.Queue()
    await queue.consume(incoming.put, arguments={STREAM_OFFSET: start})
    return incoming


def _archived_message(message: AbstractIncomingMessage) -> ArchivedMessage:
    offset = message.headers[STREAM_OFFSET]
    if not isinstance(offset, int):
        raise TypeError(f"a stream offset is an integer, not {offset!r}")
    return ArchivedMessage(offset, message.routing_key or "", from_amqp(message), message.user_id or "")
