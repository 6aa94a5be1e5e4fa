"""AMQP channel to the suite's broker with an administrator's rights, and the bindings that services publish to."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel

from prebook.lab.faults.fault_access import FaultAccess
from prebook.lab.faults.model import NoEffect

CONNECT_TIMEOUT_S = 8.0
ANY_KEY = "#"


@dataclass(frozen=True, order=True)
class QueueBinding:
    """A route: ``exchange`` delivers messages with ``routing_key`` to ``queue``, and possibly to other queues."""

    exchange: str
    routing_key: str
    queue: str

    @property
    def service(self) -> str:
        """Service that consumes from the queue: the first segment of the queue's name."""
        return self.queue.partition(".")[0]


@asynccontextmanager
async def open_admin_channel(fault_access: FaultAccess) -> AsyncIterator[AbstractChannel]:
    """Open a channel with publisher confirms, on its own connection, for the block.

    Raises:
        NoEffect: the broker's address is unknown.
        TimeoutError: no connection within CONNECT_TIMEOUT_S.
    """
    if not fault_access.amqp_url:
        raise NoEffect("the broker's address is unknown; set PREBOOK_AMQP_URL")
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        connection = await aio_pika.connect(fault_access.amqp_url, client_properties={"connection_name": "prebook lab"})
        channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
    try:
        yield channel
    finally:
        # A blocked or cut connection may not close in time; the end of this process closes it.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.close()


async def read_bindings(fault_access: FaultAccess) -> tuple[QueueBinding, ...]:
    """Return the broker's bindings through which services send messages to each other. Raises BrokerManagementError."""
    bindings, exchanges = await asyncio.gather(
        fault_access.broker.get("bindings", fault_access.vhost),
        fault_access.broker.get("exchanges", fault_access.vhost),
    )
    topics = {exchange["name"] for exchange in exchanges if exchange["type"] == "topic"}
    return publishable_bindings(bindings, topics)


def publishable_bindings(bindings: Iterable[Mapping[str, Any]], topics: Iterable[str]) -> tuple[QueueBinding, ...]:
    """Return bindings of named topic exchanges, without catch-all bindings and those for redelivery to one queue."""
    routes = (QueueBinding(binding["source"], binding["routing_key"], binding["destination"]) for binding in bindings)
    named_topics = set(topics) - {""}
    return tuple(
        sorted(
            route
            for route in routes
            if route.exchange in named_topics and route.routing_key not in {ANY_KEY, route.queue}
        )
    )


def unshared_bindings(bindings: Iterable[QueueBinding]) -> tuple[QueueBinding, ...]:
    """Return the bindings whose messages are routed to no other queue."""
    routes = tuple(bindings)
    queue_count = Counter((route.exchange, route.routing_key) for route in routes)
    return tuple(route for route in routes if queue_count[route.exchange, route.routing_key] == 1)
