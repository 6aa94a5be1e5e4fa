"""One supervised connection to the broker. It is lost and comes back; nobody else needs to notice more than that."""

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

from prebook.messaging.asyncio_tools import raise_if_cancelled
from prebook.messaging.errors import error_summary

HEARTBEAT_S = 10
"""A peer that went away without a word is noticed after three of them; the default would take three minutes."""
CONNECT_TIMEOUT_S = 5.0
HEALTH_CHECK_INTERVAL_S = 2.0
log = structlog.get_logger()


class ClosableConnection(Protocol):
    """Whatever can be lost and closed."""

    @property
    def close_callbacks(self) -> Any: ...

    async def close(self) -> None: ...


C = TypeVar("C", bound=ClosableConnection)
Connect = Callable[[str, str], Awaitable[C]]
"""Opens a connection to a URL under a name. Raises what it likes: it is tried again."""
OnConnected = Callable[[C], Awaitable[Sequence[AbstractChannel]]]
IsHealthy = Callable[[], bool]


async def connect(url: str, name: str) -> AbstractConnection:
    return await aio_pika.connect(url, timeout=CONNECT_TIMEOUT_S, client_properties={"connection_name": name})


class BrokerConnection(Generic[C]):
    """Connects, lets ``on_connected`` set up the channels, and starts over when the connection or a channel is lost.

    We reconnect ourselves, with jitter: the client's own recovery re-declares what it has once seen with old
    arguments, and returns as if nothing had happened to whoever was waiting for a confirm.
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
        """``url`` may be several after commas, of the nodes of one broker: each connection is to the next of them."""
        self._urls = cycle(shuffle_nodes(url))
        self._name, self._connect, self._on_connected, self._is_healthy = name, connect, on_connected, is_healthy
        self.up = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                await self._connect_once()
            except Exception as error:  # noqa: BLE001 - whatever it was, connecting again is the answer
                raise_if_cancelled()
                log.warning("broker connection lost", connection=self._name, error=error_summary(error))
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
            self.up.set()
            log.info("broker connection established", connection=self._name)
            await self._wait_until_lost(lost, channels)
        finally:
            self.up.clear()
            await asyncio.wait({asyncio.ensure_future(_close_quietly(connection))}, timeout=2)

    async def _wait_until_lost(self, lost: asyncio.Event, channels: Sequence[AbstractChannel]) -> None:
        while not lost.is_set() and self._is_healthy() and not any(c.is_closed for c in channels):
            try:
                async with asyncio.timeout(HEALTH_CHECK_INTERVAL_S):
                    await lost.wait()
            except TimeoutError:
                continue


def shuffle_nodes(url: str) -> list[str]:
    """The nodes, in any order, so that not everybody begins with the same one."""
    nodes = re.split(r",\s*(?=amqps?://)", url.strip())
    return [str(URL(node) % {"heartbeat": HEARTBEAT_S}) for node in random.sample(nodes, len(nodes))]


async def _close_quietly(connection: ClosableConnection) -> None:
    try:
        await connection.close()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it is being given up anyway
        log.debug("closing a lost broker connection", error=str(error))
