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

from prebook.lab.faults.fault_access import Levers
from prebook.lab.faults.model import NoEffect

WITHIN_S = 8.0
ANY_KEY = "#"


@dataclass(frozen=True, order=True)
class Address:
    """What is published to ``exchange`` with ``key`` comes to ``queue``, and perhaps to others."""

    exchange: str
    key: str
    queue: str

    @property
    def service(self) -> str:
        """Queues are named after who takes from them."""
        return self.queue.partition(".")[0]


@asynccontextmanager
async def opened(levers: Levers) -> AsyncIterator[AbstractChannel]:
    """A channel with confirms on a connection of its own. Raises NoEffect where the broker is not known."""
    if not levers.amqp_url:
        raise NoEffect("the broker's address is not known: PREBOOK_AMQP_URL is not set")
    async with asyncio.timeout(WITHIN_S):
        connection = await aio_pika.connect(levers.amqp_url, client_properties={"connection_name": "load test"})
        channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
    try:
        yield channel
    finally:
        # A connection that the broker blocks, or that is cut, may not close in time; it goes with us then.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(WITHIN_S):
                await connection.close()


async def addresses(levers: Levers) -> tuple[Address, ...]:
    """Everything that a service may publish to for others, as the broker's bindings tell it."""
    bindings, exchanges = await asyncio.gather(
        levers.broker.get("bindings", levers.vhost), levers.broker.get("exchanges", levers.vhost)
    )
    topics = {each["name"] for each in exchanges if each["type"] == "topic"}
    return published(bindings, topics)


def published(bindings: Iterable[Mapping[str, Any]], topics: Iterable[str]) -> tuple[Address, ...]:
    """Without what catches everything, and what only brings a queue's own messages back to it. Pure."""
    found = (Address(each["source"], each["routing_key"], each["destination"]) for each in bindings)
    known = set(topics) - {""}
    return tuple(sorted(a for a in found if a.exchange in known and a.key not in {ANY_KEY, a.queue}))


def alone(found: Iterable[Address]) -> tuple[Address, ...]:
    """Those whose messages come to no other queue. Pure."""
    known = tuple(found)
    count = Counter((each.exchange, each.key) for each in known)
    return tuple(each for each in known if count[each.exchange, each.key] == 1)
