"""A partition changes hands on a real broker: nothing twice, nothing out of order, and no connection lost."""

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
from tests.conditions import eventually
from tests.topology.conftest import PASSWORDS, VHOST
from tests.topology.test_promises import channel_of

pytestmark = pytest.mark.real
GROUP, PARTITION, KEY, COUNT, PREFETCH = "booking.events", "booking.events.0", "bk_8", 40, 8
WORK_S = 0.02


class Replica:
    """Works on its messages one after the other, as one key demands."""

    def __init__(self, name: str, heard: list[tuple[str, int]]) -> None:
        self._name, self._heard, self._turn = name, heard, asyncio.Lock()

    @asynccontextmanager
    async def lined_up(self, host: str) -> AsyncIterator[None]:
        url = f"amqp://{addresses.broker_user('booking')}:{quote(PASSWORDS['booking'])}@{host}/{VHOST}"
        self.connection = await aio_pika.connect(url)
        try:
            self.subscription = Subscription(self.connection, PARTITION, PREFETCH, self._take)
            await self.subscription.open()
            yield
        finally:
            await self.connection.close()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        async with self._turn:
            await asyncio.sleep(WORK_S)
            self._heard.append((self._name, int(message.body)))
            assert self.subscription.can_settle(message)
            await message.ack()


async def test_who_cedes_finishes_what_is_in_hand_and_the_next_one_goes_on_behind_it(
    broker: ManagementClient, model: Topology, amqp_host: str, administrator: tuple[str, str]
) -> None:
    await broker.declare(model, PASSWORDS)
    heard: list[tuple[str, int]] = []
    first, second = Replica("first", heard), Replica("second", heard)
    async with first.lined_up(amqp_host), second.lined_up(amqp_host):
        async with channel_of(*administrator, amqp_host) as channel:
            back = await channel.get_exchange(addresses.REDELIVER, ensure=False)
            for number in range(COUNT):
                said = aio_pika.Message(
                    str(number).encode(), delivery_mode=2, headers={HASH_SLOT_HEADER: str(hash_slot(KEY))}
                )
                await back.publish(said, GROUP)
        await eventually(lambda: _reached(heard, 5), 10)
        await first.subscription.release()
        await eventually(lambda: _reached(heard, COUNT), 10)
        assert first.subscription.is_alive
        assert not first.connection.is_closed
    assert [number for _, number in heard] == list(range(COUNT)), "each once, in order, across the two"
    assert {name for name, _ in heard} == {"first", "second"}


async def _reached(heard: list[tuple[str, int]], count: int) -> bool:
    return len(heard) >= count
