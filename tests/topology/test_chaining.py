"""Groups behind a topic, tried on a real broker: every subscriber hears each key in order, in partitions of its own."""

import asyncio
from collections import defaultdict
from dataclasses import replace

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from prebook.flows import EVENT_PARTITIONS, OFFER_SETTLED
from prebook.messaging import addresses
from prebook.messaging.headers import HASH_SLOT_HEADER
from prebook.patterns.message_groups import hash_slot, partition_of
from prebook.rabbit.management import ManagementClient
from prebook.topology.check import differences
from prebook.topology.model import suite_topology
from prebook.topology.values import Topology
from tests.topology.conftest import PASSWORDS
from tests.topology.test_promises import DEADLINE_S, channel_of

pytestmark = pytest.mark.real
KEYS = [f"bk_{number}" for number in range(24)]
PLACES = range(5)
WIDTHS = {"fleets": 2, "pricing": 5, "matching": 0}


@pytest.fixture
def chained(monkeypatch: pytest.MonkeyPatch) -> Topology:
    for subscriber, partitions in WIDTHS.items():
        monkeypatch.setitem(EVENT_PARTITIONS, subscriber, partitions)
    return suite_topology({0.2}, event_types=[replace(OFFER_SETTLED, subscribers=frozenset(WIDTHS))])


async def test_every_subscriber_of_a_topic_keeps_the_group_key(
    broker: ManagementClient, chained: Topology, amqp_host: str, administrator: tuple[str, str]
) -> None:
    await broker.declare(chained, PASSWORDS)
    assert differences(chained, await broker.read_live_broker(), frozenset({broker.user})) == []
    async with channel_of(*administrator, amqp_host) as channel:
        await _say(channel)
        for subscriber, partitions in WIDTHS.items():
            heard = await _heard(channel, subscriber, partitions)
            assert {key: places for at in heard.values() for key, places in at.items()} == {
                key: list(PLACES) for key in KEYS
            }
            if partitions:
                homes = {key: {at for at, keys in heard.items() if key in keys} for key in KEYS}
                assert homes == {key: {partition_of(key, partitions)} for key in KEYS}


async def test_what_has_no_slot_is_not_lost_and_what_is_returned_comes_to_its_partition(
    broker: ManagementClient, chained: Topology, amqp_host: str, administrator: tuple[str, str]
) -> None:
    await broker.declare(chained, PASSWORDS)
    group, partitions = addresses.event_queue("pricing"), WIDTHS["pricing"]
    async with channel_of(*administrator, amqp_host) as channel:
        back = await channel.get_exchange(addresses.REDELIVER, ensure=False)
        await back.publish(aio_pika.Message(b"old", delivery_mode=2), group)
        await back.publish(
            aio_pika.Message(b"again", delivery_mode=2, headers={HASH_SLOT_HEADER: str(hash_slot(KEYS[1]))}), group
        )
        assert await _taken(channel, addresses.partition_queue(group, 0), 1) == [b"old"]
        assert await _taken(channel, addresses.partition_queue(group, partition_of(KEYS[1], partitions)), 1) == [
            b"again"
        ]


async def _say(channel: AbstractChannel) -> None:
    events = await channel.get_exchange(addresses.EVENTS, ensure=False)
    for place in PLACES:
        for key in KEYS:
            said = aio_pika.Message(
                f"{key} {place}".encode(), delivery_mode=2, headers={HASH_SLOT_HEADER: str(hash_slot(key))}
            )
            await events.publish(said, addresses.event_routing_key(OFFER_SETTLED.name))


async def _heard(channel: AbstractChannel, subscriber: str, partitions: int) -> dict[int, dict[str, list[int]]]:
    """Partition -> key -> places, as they came."""
    group, heard = addresses.event_queue(subscriber), dict[int, dict[str, list[int]]]()
    for number in range(max(1, partitions)):
        queue = addresses.partition_queue(group, number) if partitions else group
        keys = [key for key in KEYS if not partitions or partition_of(key, partitions) == number]
        heard[number] = defaultdict(list)
        for body in await _taken(channel, queue, len(keys) * len(PLACES)):
            key, place = body.decode().split()
            heard[number][key].append(int(place))
    return heard


async def _taken(channel: AbstractChannel, name: str, count: int) -> list[bytes]:
    """That many, and no more are there. A queue with one active consumer gives nothing for the asking: we consume."""
    queue, arrived = await channel.get_queue(name, ensure=False), asyncio.Queue[bytes]()

    async def take(message: AbstractIncomingMessage) -> None:
        await arrived.put(message.body)

    tag = await queue.consume(take, no_ack=True)
    async with asyncio.timeout(DEADLINE_S):
        bodies = [await arrived.get() for _ in range(count)]
    left = await channel.declare_queue(name, passive=True)
    await queue.cancel(tag)
    assert (arrived.qsize(), left.declaration_result.message_count) == (0, 0)
    return bodies
