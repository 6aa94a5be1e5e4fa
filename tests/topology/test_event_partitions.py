"""Partitioned event queues on a real broker: every subscriber gets each key in order, in its own partitions."""

import asyncio
from collections import defaultdict
from dataclasses import replace

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from prebook.flows import EVENT_PARTITIONS, FLEETS, MATCHING, OFFER_SETTLED, PRICING
from prebook.messaging import addresses
from prebook.messaging.headers import HASH_SLOT_HEADER
from prebook.patterns.message_groups import hash_slot, partition_of
from prebook.rabbit.management import ManagementClient
from prebook.topology.check import differences
from prebook.topology.model import suite_topology
from prebook.topology.values import Topology
from tests.topology.conftest import PASSWORDS
from tests.topology.test_broker_behaviour import DEADLINE_S, channel_of

pytestmark = pytest.mark.real
KEYS = [f"bk_{number}" for number in range(24)]
NUMBERS = range(5)
PARTITIONS = {FLEETS: 2, PRICING: 5, MATCHING: 0}


@pytest.fixture
def partitioned_model(monkeypatch: pytest.MonkeyPatch) -> Topology:
    for subscriber, partitions in PARTITIONS.items():
        monkeypatch.setitem(EVENT_PARTITIONS, subscriber, partitions)
    return suite_topology({0.2}, event_types=[replace(OFFER_SETTLED, subscribers=frozenset(PARTITIONS))])


async def test_every_subscriber_of_an_event_gets_each_key_in_order_in_its_partition(
    broker: ManagementClient, partitioned_model: Topology, amqp_host: str, administrator: tuple[str, str]
) -> None:
    await broker.declare(partitioned_model, PASSWORDS)
    assert differences(partitioned_model, await broker.read_live_broker(), frozenset({broker.user})) == []
    async with channel_of(*administrator, amqp_host) as channel:
        await _publish_all(channel)
        for subscriber, partitions in PARTITIONS.items():
            received = await _receive_all(channel, subscriber, partitions)
            assert {
                key: numbers for numbers_by_key in received.values() for key, numbers in numbers_by_key.items()
            } == {key: list(NUMBERS) for key in KEYS}
            if partitions:
                partitions_by_key = {
                    key: {partition for partition, keys in received.items() if key in keys} for key in KEYS
                }
                assert partitions_by_key == {key: {partition_of(key, partitions)} for key in KEYS}


async def test_a_message_without_a_slot_is_kept_and_a_redelivered_one_reaches_its_partition(
    broker: ManagementClient, partitioned_model: Topology, amqp_host: str, administrator: tuple[str, str]
) -> None:
    await broker.declare(partitioned_model, PASSWORDS)
    group = addresses.event_queue(PRICING)
    partitions = PARTITIONS[PRICING]
    async with channel_of(*administrator, amqp_host) as channel:
        redeliver = await channel.get_exchange(addresses.REDELIVER, ensure=False)
        await redeliver.publish(aio_pika.Message(b"old", delivery_mode=2), group)
        await redeliver.publish(
            aio_pika.Message(b"again", delivery_mode=2, headers={HASH_SLOT_HEADER: str(hash_slot(KEYS[1]))}), group
        )
        assert await _consume(channel, addresses.partition_queue(group, 0), 1) == [b"old"]
        assert await _consume(channel, addresses.partition_queue(group, partition_of(KEYS[1], partitions)), 1) == [
            b"again"
        ]


async def _publish_all(channel: AbstractChannel) -> None:
    events = await channel.get_exchange(addresses.EVENTS, ensure=False)
    for number_in_key in NUMBERS:
        for key in KEYS:
            message = aio_pika.Message(
                f"{key} {number_in_key}".encode(), delivery_mode=2, headers={HASH_SLOT_HEADER: str(hash_slot(key))}
            )
            await events.publish(message, addresses.event_routing_key(OFFER_SETTLED.name))


async def _receive_all(channel: AbstractChannel, subscriber: str, partitions: int) -> dict[int, dict[str, list[int]]]:
    """Received sequence numbers by partition and key, in order of arrival."""
    group = addresses.event_queue(subscriber)
    received: dict[int, dict[str, list[int]]] = {}
    for number in range(max(1, partitions)):
        queue = addresses.partition_queue(group, number) if partitions else group
        keys = [key for key in KEYS if not partitions or partition_of(key, partitions) == number]
        received[number] = defaultdict(list)
        for body in await _consume(channel, queue, len(keys) * len(NUMBERS)):
            key, number_in_key = body.decode().split()
            received[number][key].append(int(number_in_key))
    return received


async def _consume(channel: AbstractChannel, name: str, count: int) -> list[bytes]:
    """Consume exactly ``count`` messages. A queue with a single active consumer refuses basic.get."""
    queue = await channel.get_queue(name, ensure=False)
    arrived = asyncio.Queue[bytes]()

    async def on_message(message: AbstractIncomingMessage) -> None:
        await arrived.put(message.body)

    tag = await queue.consume(on_message, no_ack=True)
    async with asyncio.timeout(DEADLINE_S):
        bodies = [await arrived.get() for _ in range(count)]
    remaining = await channel.declare_queue(name, passive=True)
    await queue.cancel(tag)
    assert (arrived.qsize(), remaining.declaration_result.message_count) == (0, 0)
    return bodies
