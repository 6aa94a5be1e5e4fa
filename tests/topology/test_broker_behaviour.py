"""Behaviour of the declared topology on a real broker: delays, parking, permissions, connections and depths."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import quote

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused

from prebook.messaging import addresses
from prebook.messaging.recoverability.dead_letter import DELIVERY_LIMIT
from prebook.rabbit.management import ManagementClient
from prebook.topology.values import Topology
from tests.topology.conftest import PASSWORDS, VHOST

pytestmark = pytest.mark.real
DEADLINE_S = 20.0
QUEUE = addresses.request_queue("pricing", "quote_fare")


@asynccontextmanager
async def channel_of(user: str, password: str, host: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(f"amqp://{user}:{quote(password)}@{host}/{VHOST}")
    try:
        yield await connection.channel(on_return_raises=True)
    finally:
        await connection.close()


def service_channel(service: str, host: str) -> AbstractAsyncContextManager[AbstractChannel]:
    return channel_of(addresses.broker_user(service), PASSWORDS[service], host)


async def test_a_delayed_message_returns_to_the_queue_named_by_its_routing_key(
    broker: ManagementClient, model: Topology, amqp_host: str
) -> None:
    await broker.declare(model, PASSWORDS)
    async with service_channel("pricing", amqp_host) as channel:
        delay_exchange = await channel.get_exchange(addresses.delay_queue(0.2), ensure=False)
        await delay_exchange.publish(aio_pika.Message(b"again", delivery_mode=2), QUEUE)
        message = await _next(channel, QUEUE)
        assert (message.body, message.exchange, message.routing_key) == (b"again", addresses.REDELIVER, QUEUE)
        await message.ack()


async def test_a_message_that_crashes_its_consumer_is_parked_under_the_name_of_its_queue(
    broker: ManagementClient, model: Topology, amqp_host: str, administrator: tuple[str, str]
) -> None:
    await broker.declare(model, PASSWORDS)
    async with service_channel("booking", amqp_host) as caller:
        requests = await caller.get_exchange(addresses.REQUESTS, ensure=False)
        await requests.publish(aio_pika.Message(b"poison", delivery_mode=2), "quote_fare")
    async with service_channel("pricing", amqp_host) as channel:
        for _ in range(DELIVERY_LIMIT + 1):
            await (await _next(channel, QUEUE)).reject(requeue=True)
    async with channel_of(*administrator, amqp_host) as channel:
        parked = await _next(channel, addresses.PARKING_QUEUE)
        assert (parked.body, parked.routing_key) == (b"poison", QUEUE)
        await parked.ack()


async def test_a_message_that_expires_in_a_queue_is_parked(
    broker: ManagementClient, model: Topology, amqp_host: str, administrator: tuple[str, str]
) -> None:
    await broker.declare(model, PASSWORDS)
    async with service_channel("booking", amqp_host) as caller:
        requests = await caller.get_exchange(addresses.REQUESTS, ensure=False)
        await requests.publish(aio_pika.Message(b"late", delivery_mode=2, expiration=0.1), "quote_fare")
    async with channel_of(*administrator, amqp_host) as channel:
        parked = await _next(channel, addresses.PARKING_QUEUE)
        assert (parked.body, parked.routing_key) == (b"late", QUEUE)
        await parked.ack()


ATTEMPTS = [
    ("booking", addresses.REQUESTS, "quote_fare", True),
    ("booking", addresses.REQUESTS, "ask_fleet", False),
    ("booking", addresses.EVENTS, "event.booking_ended", True),
    ("pricing", addresses.EVENTS, "event.booking_ended", False),
    ("pricing", addresses.REQUESTS, "quote_fare", False),
    ("pricing", addresses.REPLIES, "booking.quote_fare", True),
    ("pricing", addresses.REPLIES, "booking.find_driver", False),
    ("pricing", addresses.REPLIES, "booking", False),
    ("fleets", addresses.REPLIES, "booking.quote_fare", False),
    ("pricing", addresses.PARKING, QUEUE, True),
    ("booking", addresses.PARKING, QUEUE, False),
    ("pricing", addresses.REDELIVER, QUEUE, False),
    ("pricing", "", QUEUE, False),
]


async def test_the_broker_refuses_publishing_without_a_grant(
    broker: ManagementClient, model: Topology, amqp_host: str
) -> None:
    await broker.declare(model, PASSWORDS)
    attempts = [(s, x, key, await _may_publish(s, x, key, amqp_host)) for s, x, key, _ in ATTEMPTS]
    assert attempts == ATTEMPTS


async def _may_publish(service: str, exchange: str, key: str, host: str) -> bool:
    async with service_channel(service, host) as channel:
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
        try:
            await target.publish(aio_pika.Message(b"{}", delivery_mode=2), key)
        except ChannelAccessRefused:
            return False
        return True


async def test_a_service_cannot_read_a_queue_of_another(
    broker: ManagementClient, model: Topology, amqp_host: str
) -> None:
    await broker.declare(model, PASSWORDS)
    async with service_channel("fleets", amqp_host) as channel:
        queue = await channel.get_queue(QUEUE, ensure=False)
        with pytest.raises(ChannelAccessRefused):
            await queue.get()


async def _next(channel: AbstractChannel, name: str) -> AbstractIncomingMessage:
    queue = await channel.get_queue(name, ensure=False)
    async with asyncio.timeout(DEADLINE_S):
        while (message := await queue.get(fail=False)) is None:
            await asyncio.sleep(0.05)
    return message
