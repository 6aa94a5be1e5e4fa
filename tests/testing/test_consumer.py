"""In-memory broker and consumer: messages are routed by the topology and recovered as by the real consumer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.handlers import MessageHandler
from prebook.messaging.observer import NullObserver
from prebook.messaging.policy import retry_delays_s
from prebook.patterns.message_groups import partition_of
from prebook.runtime.loops import cancel_and_wait
from prebook.testing.broker import MemoryBroker
from prebook.testing.configuration import make_policies
from prebook.testing.consumer import MemoryConsumer
from prebook.topology.model import suite_topology
from tests.conditions import wait_until
from tests.messaging.examples import request

GROUP = "notification.one_way_requests.notify_rider"
PARTITION = addresses.partition_queue(GROUP, partition_of("b1", 4))
POLICIES = make_policies(max_attempts=2)
TOPOLOGY = suite_topology(retry_delays_s(POLICIES))
publish = partial(
    MemoryBroker.publish, exchange=addresses.EVENTS, routing_key=addresses.request_routing_key("notify_rider")
)


@asynccontextmanager
async def consume(broker: MemoryBroker, handler: MessageHandler) -> AsyncIterator[None]:
    """Consume the partition of conversation ``b1`` while the block lasts, with two attempts at each message."""
    consumer = MemoryConsumer(broker, PARTITION, GROUP, handler, policies=POLICIES, observer=NullObserver())

    async def is_up() -> None:
        return None

    task = asyncio.create_task(consumer.run(is_up))
    try:
        yield
    finally:
        await cancel_and_wait([task])


async def test_a_message_of_a_group_goes_to_the_partition_of_its_key_and_to_the_archive() -> None:
    broker = MemoryBroker(TOPOLOGY)
    await publish(broker, message=encode(request()))

    assert {queue for queue, messages in broker.queues.items() if messages} == {PARTITION, addresses.ARCHIVE_QUEUE}


async def test_a_failing_message_is_retried_and_then_parked_under_the_address_of_its_group() -> None:
    broker = MemoryBroker(TOPOLOGY)
    attempts = list[int]()

    async def fail(envelope: Envelope) -> None:
        attempts.append(envelope.attempt)
        raise ValueError("no")

    async with consume(broker, fail):
        await publish(broker, message=encode(request()))
        await wait_until(lambda: bool(broker.queues[addresses.PARKING_QUEUE]))

    (parked,) = broker.queues[addresses.PARKING_QUEUE]
    assert attempts == [1, 2]
    assert (parked.headers["prebook-x-cause"], decode(parked).id) == ("attempts_exhausted", request().id)
    assert broker.published[-1][:2] == (addresses.PARKING, GROUP)


async def test_a_malformed_message_is_parked_with_its_cause() -> None:
    broker = MemoryBroker(TOPOLOGY)
    handled = list[Envelope]()

    async def handle(envelope: Envelope) -> None:
        handled.append(envelope)

    async with consume(broker, handle):
        await publish(broker, message=WireMessage(encode(request()).headers, b"{"))
        await wait_until(lambda: bool(broker.queues[addresses.PARKING_QUEUE]))

    (parked,) = broker.queues[addresses.PARKING_QUEUE]
    assert (parked.headers["prebook-x-cause"], handled) == ("bad_json", [])


async def test_an_outage_costs_no_attempt() -> None:
    broker = MemoryBroker(TOPOLOGY)
    attempts = list[int]()

    async def handle(envelope: Envelope) -> None:
        attempts.append(envelope.attempt)
        if len(attempts) < 5:
            raise Unreachable("the database is down")

    async with consume(broker, handle):
        await publish(broker, message=encode(request()))
        await wait_until(lambda: len(attempts) == 5)

    assert attempts == [1] * 5
    assert not broker.queues[addresses.PARKING_QUEUE]
