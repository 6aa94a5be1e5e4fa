"""The broker by AMQP, as its administrator: where the suite publishes to, and a channel of our own."""

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
    """What is published to ``exchange`` with ``key`` comes to ``queue``, and perhaps to others."""

    exchange: str
    routing_key: str
    queue: str

    @property
    def service(self) -> str:
        """Queues are named after who takes from them."""
        return self.queue.partition(".")[0]


@asynccontextmanager
async def open_admin_channel(fault_access: FaultAccess) -> AsyncIterator[AbstractChannel]:
    """A channel with confirms on a connection of its own. Raises NoEffect where the broker is not known."""
    if not fault_access.amqp_url:
        raise NoEffect("the broker's address is not known: PREBOOK_AMQP_URL is not set")
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        connection = await aio_pika.connect(fault_access.amqp_url, client_properties={"connection_name": "prebook lab"})
        channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
    try:
        yield channel
    finally:
        # A connection that the broker blocks, or that is cut, may not close in time; it goes with us then.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await connection.close()


async def read_bindings(fault_access: FaultAccess) -> tuple[QueueBinding, ...]:
    """Everything that a service may publish to for others, as the broker's bindings tell it."""
    bindings, exchanges = await asyncio.gather(
        fault_access.broker.get("bindings", fault_access.vhost),
        fault_access.broker.get("exchanges", fault_access.vhost),
    )
    topics = {each["name"] for each in exchanges if each["type"] == "topic"}
    return publishable_bindings(bindings, topics)


def publishable_bindings(bindings: Iterable[Mapping[str, Any]], topics: Iterable[str]) -> tuple[QueueBinding, ...]:
    """Without what catches everything, and what only brings a queue's own messages back to it. Pure."""
    found = (QueueBinding(each["source"], each["routing_key"], each["destination"]) for each in bindings)
    known = set(topics) - {""}
    return tuple(sorted(a for a in found if a.exchange in known and a.routing_key not in {ANY_KEY, a.queue}))


def unshared_bindings(bindings: Iterable[QueueBinding]) -> tuple[QueueBinding, ...]:
    """Those whose messages come to no other queue. Pure."""
    known = tuple(bindings)
    count = Counter((each.exchange, each.routing_key) for each in known)
    return tuple(each for each in known if count[each.exchange, each.routing_key] == 1)
