"""Queues that a side of a measurement fills, and the check of their content afterwards."""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue

from prebook.lab.bench.testbed import BenchTestbed

QUORUM_ARGUMENTS: Any = {"x-queue-type": "quorum"}
LAST_MESSAGE_TIMEOUT_S = 5


async def open_channel(testbed: BenchTestbed) -> tuple[AbstractConnection, AbstractChannel]:
    """Return a new connection as administrator and a channel on it; the caller closes the connection."""
    connection = await aio_pika.connect(testbed.amqp_url)
    return connection, await connection.channel()


async def divert_queue(
    channel: AbstractChannel, exchange: str, key: str, service_queue: str, name: str
) -> AbstractQueue:
    """Return a new unbounded queue ``name`` that receives the messages of ``service_queue`` in its place.

    ``key``: binding key of both queues on ``exchange``. The new queue has no consumer.
    """
    queue = await channel.declare_queue(name, durable=True, arguments=QUORUM_ARGUMENTS)
    await queue.bind(exchange, key)
    await (await channel.get_queue(service_queue, ensure=False)).unbind(exchange, key)
    return queue


async def drain_and_verify(
    queue: AbstractQueue, expected: int, identify: Callable[[AbstractIncomingMessage], tuple[str, int]]
) -> str:
    """Consume up to ``expected`` messages and return what is missing or out of order, as text; empty if all is right.

    ``identify``: returns ordering key and sequence number of a message.
    """
    numbers: dict[str, list[int]] = defaultdict(list)
    async with queue.iterator(no_ack=True, timeout=LAST_MESSAGE_TIMEOUT_S) as messages:
        count = 0
        async for message in messages:
            ordering_key, number = identify(message)
            numbers[ordering_key].append(number)
            if (count := count + 1) == expected:
                break
    distinct = sum(len(set(received)) for received in numbers.values())
    misordered = sum(later < earlier for received in numbers.values() for earlier, later in pairwise(received))
    problems = [f"{expected - distinct} of {expected} missing"] if distinct != expected else []
    return ", ".join(problems + ([f"{misordered} out of order for their key"] if misordered else []))
