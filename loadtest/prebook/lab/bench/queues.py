"""The broker's side of a measurement: the queue that a side fills, and what is found in it afterwards."""

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
    connection = await aio_pika.connect(testbed.amqp_url)
    return connection, await connection.channel()


async def divert_queue(
    channel: AbstractChannel, exchange: str, key: str, service_queue: str, name: str
) -> AbstractQueue:
    """A queue that gets what a service's queue would have got: unbounded, and nobody takes from it."""
    queue = await channel.declare_queue(name, durable=True, arguments=QUORUM_ARGUMENTS)
    await queue.bind(exchange, key)
    await (await channel.get_queue(service_queue, ensure=False)).unbind(exchange, key)
    return queue


async def drain_and_verify(
    queue: AbstractQueue, expected: int, identify: Callable[[AbstractIncomingMessage], tuple[str, int]]
) -> str:
    """What is wrong with what is in the queue, or nothing. ``key`` tells a message's order key and its number."""
    numbers: dict[str, list[int]] = defaultdict(list)
    async with queue.iterator(no_ack=True, timeout=LAST_MESSAGE_TIMEOUT_S) as messages:
        count = 0
        async for message in messages:
            name, number = identify(message)
            numbers[name].append(number)
            if (count := count + 1) == expected:
                break
    distinct = sum(len(set(found)) for found in numbers.values())
    breaks = sum(later < earlier for found in numbers.values() for earlier, later in pairwise(found))
    wrong = [f"{expected - distinct} of {expected} missing"] if distinct != expected else []
    return ", ".join(wrong + ([f"{breaks} out of order for their key"] if breaks else []))
