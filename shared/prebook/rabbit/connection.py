"""Supervised connection to the broker: opened again, on the next node, whenever it fails or is lost."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from typing import Any, Generic, Protocol, TypeVar

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from yarl import URL

from prebook.asyncio_tools import OwnedTasks, raise_if_cancelled
from prebook.messaging.errors import error_summary
from prebook.rabbit import tolerant_decoder

tolerant_decoder.install()
HEARTBEAT_S = 10
"""Interval, negotiated with the broker. A peer that stops responding is detected after three; aiormq's default of 60 s
takes 183 s."""
CONNECT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
HEALTH_CHECK_INTERVAL_S = 2.0
log = structlog.get_logger()


class ClosableConnection(Protocol):
    """A connection that reports its loss."""

    @property
    def close_callbacks(self) -> Any:
        """Set of functions that are called once the connection is closed, for whatever reason."""

    @property
    def is_closed(self) -> bool:
        """Whether the connection is known to be closed; a close callback that is added later is never called."""

    async def close(self) -> None:
        """Close the connection."""


C = TypeVar("C", bound=ClosableConnection)
Connect = Callable[[str, str], Awaitable[C]]
"""Opens a connection to a URL under a name. Any exception means that it is tried again."""
OnConnected = Callable[[C], Awaitable[Sequence[AbstractChannel]]]
IsHealthy = Callable[[], bool]


async def connect(url: str, name: str) -> AbstractConnection:
    """Open an aio-pika connection that does not reconnect by itself. ``name`` is what the management UI lists."""
    return await aio_pika.connect(url, timeout=CONNECT_TIMEOUT_S, client_properties={"connection_name": name})


class BrokerConnection(Generic[C]):
    """Connects, lets ``on_connected`` set up the channels, and starts over when the connection or a channel is lost.

    aio-pika's own recovery is not used: it declares queues again with the arguments of their first declaration, waits
    a fixed 5 s without jitter, and resumes a caller that waits for a confirm as if nothing had been lost.
    """

    def __init__(
        self,
        url: str,
        name: str,
        on_connected: OnConnected[C],
        *,
        connect: Connect[C],
        is_healthy: IsHealthy = lambda: True,
    ) -> None:
        """Prepare a connection; ``run`` opens it.

        ``url``: one URL, or those of a cluster's nodes with commas between them; each attempt takes the next node.
        ``on_connected``: sets up a new connection and returns the channels whose loss is the loss of the connection.
        ``is_healthy``: asked every ``HEALTH_CHECK_INTERVAL_S`` seconds; False means that the connection is lost.
        """
        self._urls = cycle(shuffle_nodes(url))
        self._name = name
        self._connect = connect
        self._on_connected = on_connected
        self._is_healthy = is_healthy
        self.up = asyncio.Event()
        """Set while the connection is usable."""

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        while True:
            try:
                await self._connect_once()
            except Exception as error:  # noqa: BLE001 - whatever failed, the remedy is to connect again
                raise_if_cancelled()
                log.warning("broker connection failed", connection=self._name, error=error_summary(error))
            await asyncio.sleep(random.uniform(0.1, 0.6))

    async def _connect_once(self) -> None:
        lost = asyncio.Event()
        connection = await self._connect(next(self._urls), self._name)
        try:
            connection.close_callbacks.add(lambda *_: lost.set())
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                channels = await self._on_connected(connection)
            for channel in channels:
                channel.close_callbacks.add(lambda *_: lost.set())
            if not self._is_usable(connection, channels):
                raise ConnectionError("the connection was lost while it was set up")
            self.up.set()
            log.info("broker connection established", connection=self._name)
            await self._wait_until_lost(lost, connection, channels)
            log.warning("broker connection lost", connection=self._name)
        finally:
            self.up.clear()
            closing = OwnedTasks()
            closing.start(_close_quietly(connection))
            await closing.stop(CLOSE_TIMEOUT_S)

    def _is_usable(self, connection: C, channels: Sequence[AbstractChannel]) -> bool:
        return not connection.is_closed and self._is_healthy() and not any(channel.is_closed for channel in channels)

    async def _wait_until_lost(self, lost: asyncio.Event, connection: C, channels: Sequence[AbstractChannel]) -> None:
        while not lost.is_set() and self._is_usable(connection, channels):
            try:
                async with asyncio.timeout(HEALTH_CHECK_INTERVAL_S):
                    await lost.wait()
            except TimeoutError:
                continue


def shuffle_nodes(url: str) -> list[str]:
    """Return the URLs of the nodes, with our heartbeat, in random order: replicas spread over the nodes."""
    nodes = re.split(r",\s*(?=amqps?://)", url.strip())
    return [str(URL(node) % {"heartbeat": HEARTBEAT_S}) for node in random.sample(nodes, len(nodes))]


async def _close_quietly(connection: ClosableConnection) -> None:
    try:
        await connection.close()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the connection is abandoned anyway
        log.debug("closing a lost broker connection", error=error_summary(error))
