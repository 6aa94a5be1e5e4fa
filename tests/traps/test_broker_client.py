"""Pitfalls of the broker's client (2.1) and of the broker (2.2) that our adapters meet, tried on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiormq
import pytest
from pamqp import commands, frame

from prebook.messaging import addresses
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.connection import PublisherConnection
from prebook.rabbit.publisher import RabbitPublisher
from tests.conditions import poll_until, wait_until
from tests.integration.broker_probe import BrokerProbe
from tests.traps.place import Handler, Place, linked, named


@asynccontextmanager
async def publishing(place: Place) -> AsyncIterator[RabbitPublisher]:
    publisher = RabbitPublisher(place.url, "traps")
    async with linked(publisher.connection.run, publisher.connection.up):
        yield publisher


def with_silent_peer() -> tuple[RabbitPublisher, PublisherConnection]:
    """Connected, as far as it knows; nobody confirms anything."""
    publisher, session = RabbitPublisher("amqp://nobody@127.0.0.1/none", "traps"), PublisherConnection(heartbeat_s=10)
    publisher._publisher_connection = session
    publisher.connection.up.set()
    return publisher, session


async def test_a_confirm_that_does_not_come_as_the_connection_goes_is_a_failure_and_not_our_end() -> None:
    """Pitfall 2.1.1: the client library cancels whoever waits for it, as if we had been told to stop."""
    publisher, session = with_silent_peer()
    task = asyncio.create_task(publisher.publish("x", "k", encode(named("lost"))))
    await wait_until(lambda: len(session.unconfirmed) == 1)
    session.connection_lost(None)
    with pytest.raises(Unreachable, match="lost before the confirm"):
        await task


async def test_a_publish_that_is_cancelled_by_its_owner_ends() -> None:
    """Pitfall 2.1.1, the other side of it."""
    publisher, session = with_silent_peer()
    task = asyncio.create_task(publisher.publish("x", "k", encode(named("silent"))))
    await wait_until(lambda: len(session.unconfirmed) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_no_confirm_is_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pitfalls 2.1.7 and 2.1.8: while a connection is blocked, everything on it hangs."""
    monkeypatch.setattr("prebook.rabbit.publisher.CONFIRM_TIMEOUT_S", 0.05)
    monkeypatch.setattr("prebook.rabbit.amqp_publisher.connection.HEALTH_CHECK_INTERVAL_S", 0.02)
    publisher, session = with_silent_peer()
    session.check_health()
    with pytest.raises(Unreachable, match="no confirm within"):
        await publisher.publish("x", "k", encode(named("silent")))
    session.connection_lost(None)


async def test_what_the_broker_says_of_its_alarm_is_known_at_once() -> None:
    """Pitfall 2.1.8: it is told once, when it begins and when it ends."""
    publisher, session = with_silent_peer()
    said = [publisher.blocked_s]
    for told in (commands.Connection.Blocked("low on memory"), commands.Connection.Unblocked()):
        session.data_received(frame.marshal(told, 0))
        said.append(publisher.blocked_s)
    before, during, after = said
    assert before is None
    assert during is not None
    assert after is None
    session.connection_lost(None)


@pytest.mark.real
async def test_what_goes_nowhere_is_said_to_go_nowhere(place: Place) -> None:
    """Pitfall 2.1.4."""
    async with publishing(place) as publisher:
        with pytest.raises(Undeliverable):
            await publisher.publish(addresses.REQUESTS, "nobody.asks.that", encode(named("nowhere")))


@pytest.mark.real
async def test_what_a_full_queue_refuses_is_not_taken_for_sent(place: Place) -> None:
    """Pitfalls 2.2.7 and 2.2.8: a nack is a refusal, and it is worth another try."""
    await _full(place)
    async with publishing(place) as publisher:
        with pytest.raises(Unreachable, match="full"):
            await publisher.publish(addresses.REDELIVER, f"{place.queue.name}.full", encode(named("refused")))


@pytest.mark.real
async def test_two_messages_of_one_id_at_once_are_told_apart(place: Place) -> None:
    """Pitfall 2.1.3: the client matches what is returned by its message id."""
    wire, keys = encode(named("twice")), [place.queue.name, "nobody.asks.that"] * 2
    async with publishing(place) as publisher:
        said = [publisher.publish(addresses.REDELIVER, key, wire) for key in keys]
        ends = await asyncio.gather(*said, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), Undeliverable] * 2


@pytest.mark.real
async def test_what_is_in_hand_when_a_consumer_goes_comes_to_the_next(place: Place, broker: BrokerProbe) -> None:
    """Pitfalls 2.1.11 and 2.1.12: it is acknowledged when its effect is committed, and not before."""
    message, hangs, handler = named("in-hand"), asyncio.Event(), Handler()

    async def hanging(_: Envelope) -> None:
        hangs.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        async with place.consuming(hanging, patience_s=0.1):
            await place.send(broker, message)
            await hangs.wait()
        async with place.consuming(handler):
            await wait_until(lambda: handler.ids == [message.id])


@pytest.mark.real
async def test_a_consumer_that_stops_lets_what_it_has_in_hand_end(place: Place, broker: BrokerProbe) -> None:
    """Pitfall 2.1.11: stopping a service must not set its messages aside."""
    began, may_end, ended = asyncio.Event(), asyncio.Event(), list[str]()

    async def slow(envelope: Envelope) -> None:
        began.set()
        await may_end.wait()
        ended.append(envelope.id)

    message = named("slow")
    async with place.consuming(slow) as (consumer,):
        await place.send(broker, message)
        await asyncio.wait_for(began.wait(), 10)
        stopping = asyncio.create_task(consumer.stop())
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.wait_for(stopping, 10)
        assert ended == [message.id]
        await poll_until(lambda: _is_empty(place))
    await broker.collect_parked(0)


@pytest.mark.real
async def test_many_at_a_time_are_settled_each_even_where_every_handler_fails(
    place: Place, broker: BrokerProbe
) -> None:
    """Pitfall 2.1.10: in a plain callback each failure holds a prefetch slot for ever."""
    messages = [named("failing") for _ in range(4)]
    handler = Handler(frozenset(message.id for message in messages))
    async with place.consuming(handler, prefetch=2):
        await place.send(broker, *messages)
        await broker.collect_parked(len(messages))
        await poll_until(lambda: _is_empty(place))


@pytest.mark.real
async def test_a_consumer_that_the_broker_cancels_takes_up_again(place: Place, broker: BrokerProbe) -> None:
    """Pitfall 2.1.13: its queue was deleted and declared anew."""
    handler, message = Handler(), named("after")
    async with place.consuming(handler):
        await place.queue.delete(if_unused=False, if_empty=False)
        await place.channel.declare_queue(place.queue.name, durable=True)
        await place.queue.bind(addresses.REDELIVER, place.queue.name)
        await place.send(broker, message)
        await wait_until(lambda: handler.ids == [message.id], timeout_s=15)


@pytest.mark.real
async def test_nobody_takes_more_than_it_was_told_to(place: Place, broker: BrokerProbe) -> None:
    """Pitfalls 2.1.9 and 2.1.20: deliveries are handled side by side, as many as the prefetch, which has no default."""
    at_work, most, go_on = 0, 0, asyncio.Event()

    async def counting(_: Envelope) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await go_on.wait()
        at_work -= 1

    await place.send(broker, *(named("many") for _ in range(12)))
    async with place.consuming(counting, prefetch=3):
        await wait_until(lambda: at_work == 3, timeout_s=10)
        await poll_until(lambda: _waiting(place, 9))
        go_on.set()
        await poll_until(lambda: _is_empty(place))
    assert most == 3


@pytest.mark.real
async def test_every_message_is_published_persistent(place: Place, broker: BrokerProbe) -> None:
    """Pitfall 2.1.17: persistent, since a dead-lettered copy keeps the mode of its original."""
    async with publishing(place) as publisher:
        await publisher.publish(addresses.REDELIVER, place.queue.name, encode(named("kept")))
    message = await place.queue.get(no_ack=True)
    assert message.delivery_mode == 2


async def _full(place: Place) -> None:
    limits: Any = {"x-max-length": 1, "x-overflow": "reject-publish", "x-expires": 60_000}
    queue = await place.channel.declare_queue(f"{place.queue.name}.full", durable=True, arguments=limits)
    await queue.bind(addresses.REDELIVER, queue.name)
    for _ in range(3):
        try:
            async with asyncio.timeout(5):
                await place.put_into(queue.name)
        except aiormq.exceptions.DeliveryError:
            return


async def _waiting(place: Place, count: int) -> bool:
    return (await place.queue.declare()).message_count == count


async def _is_empty(place: Place) -> bool:
    return await _waiting(place, 0)
