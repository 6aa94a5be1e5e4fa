"""Release of a partition to another replica on a real broker: no duplicate, no reordering, no lost connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage

from prebook.messaging import addresses
from prebook.messaging.headers import HASH_SLOT_HEADER
from prebook.patterns.message_groups import hash_slot
from prebook.rabbit.management import ManagementClient
from prebook.rabbit.subscription import Subscription
from prebook.topology.values import Topology
from tests.conditions import poll_until
from tests.topology.conftest import PASSWORDS, VHOST
from tests.topology.test_broker_behaviour import channel_of

pytestmark = pytest.mark.real
GROUP = "booking.events"
PARTITION = "booking.events.0"
KEY = "bk_8"
COUNT = 40
PREFETCH = 8
WORK_S = 0.02


class Replica:
    """Consumer that handles its messages one by one."""

    def __init__(self, name: str, received: list[tuple[str, int]]) -> None:
        self._name = name
        self._received = received
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def subscribed(self, host: str) -> AsyncIterator[None]:
        url = f"amqp://{addresses.broker_user('booking')}:{quote(PASSWORDS['booking'])}@{host}/{VHOST}"
        self.connection = await aio_pika.connect(url)
        try:
            self.subscription = Subscription(self.connection, PARTITION, PREFETCH, self._handle, ordered=True)
            await self.subscription.open()
            yield
        finally:
            await self.connection.close()

    async def _handle(self, message: AbstractIncomingMessage) -> None:
        async with self._lock:
            await asyncio.sleep(WORK_S)
            self._received.append((self._name, int(message.body)))
            assert self.subscription.can_settle(message)
            await message.ack()


async def test_a_released_partition_continues_at_the_next_replica_in_order(
    broker: ManagementClient, model: Topology, amqp_host: str, administrator: tuple[str, str]
) -> None:
    await broker.declare(model, PASSWORDS)
    received: list[tuple[str, int]] = []
    first = Replica("first", received)
    second = Replica("second", received)
    async with first.subscribed(amqp_host), second.subscribed(amqp_host):
        async with channel_of(*administrator, amqp_host) as channel:
            redeliver = await channel.get_exchange(addresses.REDELIVER, ensure=False)
            for number in range(COUNT):
                message = aio_pika.Message(
                    str(number).encode(), delivery_mode=2, headers={HASH_SLOT_HEADER: str(hash_slot(KEY))}
                )
                await redeliver.publish(message, GROUP)
        await poll_until(lambda: _has_received(received, 5), 10)
        await first.subscription.release()
        await poll_until(lambda: _has_received(received, COUNT), 10)
        assert first.subscription.is_alive
        assert not first.connection.is_closed
    assert [number for _, number in received] == list(range(COUNT)), "each message once, in order, over both replicas"
    assert {name for name, _ in received} == {"first", "second"}


async def _has_received(received: list[tuple[str, int]], count: int) -> bool:
    return len(received) >= count
