"""Pitfalls of the broker's client (2.1) and of the broker (2.2), each tried with the adapters on a real broker."""

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
from prebook.messaging.headers import MESSAGE_ID_HEADER
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.rabbit.amqp_publisher.connection import PublisherConnection
from prebook.rabbit.dead_letter_consumer import DeadLetterConsumer
from prebook.rabbit.publisher import RabbitPublisher
from tests.conditions import poll_until, wait_until
from tests.integration.broker_probe import BrokerProbe
from tests.traps.trap_queue import RecordingHandler, TrapQueue, run_connection, unique_request


@asynccontextmanager
async def open_publisher(trap_queue: TrapQueue) -> AsyncIterator[RabbitPublisher]:
    publisher = RabbitPublisher(trap_queue.url, "traps")
    async with run_connection(publisher.connection.run, publisher.connection.up):
        yield publisher


def connect_to_silent_peer() -> tuple[RabbitPublisher, PublisherConnection]:
    """Return a publisher that believes to be connected, and its connection; no publish is ever confirmed."""
    publisher = RabbitPublisher("amqp://nobody@127.0.0.1/none", "traps")
    session = PublisherConnection(heartbeat_s=10)
    publisher._publisher_connection = session
    publisher.connection.up.set()
    return publisher, session


async def test_a_lost_connection_fails_the_publish_and_does_not_cancel_it() -> None:
    """Pitfall 2.1.1: the client library cancels pending publishes, as if their owner had asked for it."""
    publisher, session = connect_to_silent_peer()
    task = asyncio.create_task(publisher.publish("x", "k", encode(unique_request("lost"))))
    await wait_until(lambda: len(session.unconfirmed) == 1)
    session.connection_lost(None)
    with pytest.raises(Unreachable, match="lost before the confirm"):
        await task


async def test_a_publish_cancelled_by_its_owner_ends() -> None:
    """Pitfall 2.1.1, reversed: a real cancellation must not be taken for a lost connection."""
    publisher, session = connect_to_silent_peer()
    task = asyncio.create_task(publisher.publish("x", "k", encode(unique_request("silent"))))
    await wait_until(lambda: len(session.unconfirmed) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_missing_confirm_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pitfalls 2.1.7 and 2.1.8: on a blocked connection, every operation hangs."""
    monkeypatch.setattr("prebook.rabbit.publisher.CONFIRM_TIMEOUT_S", 0.05)
    monkeypatch.setattr("prebook.rabbit.amqp_publisher.connection.HEALTH_CHECK_INTERVAL_S", 0.02)
    publisher, session = connect_to_silent_peer()
    session.check_health()
    with pytest.raises(Unreachable, match="no confirm within"):
        await publisher.publish("x", "k", encode(unique_request("silent")))
    session.connection_lost(None)


async def test_an_alarm_of_the_broker_is_known_at_once() -> None:
    """Pitfall 2.1.8: the broker reports an alarm only once, at its start and at its end."""
    publisher, session = connect_to_silent_peer()
    blocked_s = [publisher.blocked_s]
    for notice in (commands.Connection.Blocked("low on memory"), commands.Connection.Unblocked()):
        session.data_received(frame.marshal(notice, 0))
        blocked_s.append(publisher.blocked_s)
    before, during, after = blocked_s
    assert before is None
    assert during is not None
    assert after is None
    session.connection_lost(None)


@pytest.mark.real
async def test_an_unroutable_message_raises_undeliverable(trap_queue: TrapQueue) -> None:
    """Pitfall 2.1.4: by default, the client library drops an unroutable message without an error."""
    async with open_publisher(trap_queue) as publisher:
        with pytest.raises(Undeliverable):
            await publisher.publish(addresses.REQUESTS, "no-such-flow", encode(unique_request("nowhere")))


@pytest.mark.real
async def test_a_message_refused_by_a_full_queue_is_not_sent(trap_queue: TrapQueue) -> None:
    """Pitfalls 2.2.7 and 2.2.8: a nack means refused or unknown, so the publish is retried."""
    await _fill_queue(trap_queue)
    async with open_publisher(trap_queue) as publisher:
        with pytest.raises(Unreachable, match="full"):
            await publisher.publish(
                addresses.REDELIVER, f"{trap_queue.queue.name}.full", encode(unique_request("refused"))
            )


@pytest.mark.real
async def test_concurrent_messages_with_one_id_have_separate_results(trap_queue: TrapQueue) -> None:
    """Pitfall 2.1.3: the client library matches returned messages by message id alone."""
    wire = encode(unique_request("twice"))
    keys = [trap_queue.queue.name, "no-such-flow"] * 2
    async with open_publisher(trap_queue) as publisher:
        publishes = [publisher.publish(addresses.REDELIVER, key, wire) for key in keys]
        results = await asyncio.gather(*publishes, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Undeliverable] * 2


@pytest.mark.real
async def test_an_unsettled_message_of_an_ended_consumer_goes_to_the_next_one(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """Pitfalls 2.1.11 and 2.1.12: a message is acknowledged only after its effect is committed."""
    message = unique_request("in-hand")
    began = asyncio.Event()
    handler = RecordingHandler()

    async def hang(_: Envelope) -> None:
        began.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(20):
        async with trap_queue.run_consumers(hang, stop_timeout_s=0.1):
            await trap_queue.send(broker, message)
            await began.wait()
        async with trap_queue.run_consumers(handler):
            await wait_until(lambda: handler.ids == [message.id])


@pytest.mark.real
async def test_a_stopping_consumer_completes_its_unacknowledged_message(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """Pitfall 2.1.11: the stop of a service must not dead-letter its messages."""
    began = asyncio.Event()
    may_end = asyncio.Event()
    handled: list[str] = []

    async def handle_slowly(envelope: Envelope) -> None:
        began.set()
        await may_end.wait()
        handled.append(envelope.id)

    message = unique_request("slow")
    async with trap_queue.run_consumers(handle_slowly) as (consumer,):
        await trap_queue.send(broker, message)
        await asyncio.wait_for(began.wait(), 10)
        stopping = asyncio.create_task(consumer.stop())
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.wait_for(stopping, 10)
        assert handled == [message.id]
        await poll_until(lambda: _is_empty(trap_queue))
    await broker.collect_parked(0)


@pytest.mark.real
async def test_every_concurrent_message_is_settled_though_every_handler_fails(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """Pitfall 2.1.10: in a plain callback, each failure occupies a prefetch slot for ever."""
    messages = [unique_request("failing") for _ in range(4)]
    handler = RecordingHandler(frozenset(message.id for message in messages))
    async with trap_queue.run_consumers(handler, prefetch=2):
        await trap_queue.send(broker, *messages)
        await broker.collect_parked(len(messages))
        await poll_until(lambda: _is_empty(trap_queue))


@pytest.mark.real
async def test_a_message_is_delivered_again_after_an_unexpected_error(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """Pitfall 2.1.10: the client library logs an error of the callback, and the message stays unsettled."""
    message = unique_request("unexpected")
    handler = RecordingHandler()
    errors = [RuntimeError("a defect outside of the handler")]

    def fail_once(*_: object) -> None:
        if errors:
            raise errors.pop()

    async with trap_queue.run_consumers(handler) as (consumer,):
        consumer._check_sender = fail_once
        await trap_queue.send(broker, message)
        await wait_until(lambda: handler.ids == [message.id], timeout_s=15)


@pytest.mark.real
async def test_a_consumer_cancelled_by_the_broker_subscribes_again(trap_queue: TrapQueue, broker: BrokerProbe) -> None:
    """Pitfall 2.1.13: the broker cancels a consumer when its queue is deleted; the queue is declared again."""
    handler = RecordingHandler()
    message = unique_request("after")
    async with trap_queue.run_consumers(handler):
        await trap_queue.queue.delete(if_unused=False, if_empty=False)
        await trap_queue.channel.declare_queue(trap_queue.queue.name, durable=True)
        await trap_queue.queue.bind(addresses.REDELIVER, trap_queue.queue.name)
        await trap_queue.send(broker, message)
        await wait_until(lambda: handler.ids == [message.id], timeout_s=15)


@pytest.mark.real
async def test_a_dead_letter_consumer_cancelled_by_the_broker_subscribes_again(
    trap_queue: TrapQueue, broker: BrokerProbe
) -> None:
    """Pitfall 2.1.13: its channel stays open, so without a look at its subscription it seems to be connected."""
    stored: list[str] = []

    async def store(dead_letter: DeadLetter) -> None:
        stored.append(dead_letter.headers[MESSAGE_ID_HEADER])

    name = trap_queue.queue.name
    message = unique_request("after")
    consumer = DeadLetterConsumer(trap_queue.url, "traps", name, 1, store)
    async with run_connection(consumer.connection.run, consumer.connection.up):
        await trap_queue.queue.delete(if_unused=False, if_empty=False)
        await wait_until(lambda: not consumer.connection.up.is_set(), timeout_s=15)
        await trap_queue.channel.declare_queue(name, durable=True)
        await trap_queue.queue.bind(addresses.REDELIVER, name)
        await trap_queue.send(broker, message)
        await wait_until(lambda: stored == [message.id], timeout_s=15)


@pytest.mark.real
async def test_a_consumer_handles_at_most_its_prefetch_concurrently(trap_queue: TrapQueue, broker: BrokerProbe) -> None:
    """Pitfalls 2.1.9 and 2.1.20: deliveries are handled concurrently, up to a prefetch that is unlimited by default."""
    running = 0
    max_running = 0
    may_end = asyncio.Event()

    async def count_running(_: Envelope) -> None:
        nonlocal running, max_running
        running += 1
        max_running = max(max_running, running)
        await may_end.wait()
        running -= 1

    await trap_queue.send(broker, *(unique_request("many") for _ in range(12)))
    async with trap_queue.run_consumers(count_running, prefetch=3):
        await wait_until(lambda: running == 3, timeout_s=10)
        await poll_until(lambda: _has_messages(trap_queue, 9))
        may_end.set()
        await poll_until(lambda: _is_empty(trap_queue))
    assert max_running == 3


@pytest.mark.real
async def test_every_message_is_published_persistent(trap_queue: TrapQueue, broker: BrokerProbe) -> None:
    """Pitfall 2.1.17: messages are transient by default, and a dead-lettered copy keeps the mode of its original."""
    async with open_publisher(trap_queue) as publisher:
        await publisher.publish(addresses.REDELIVER, trap_queue.queue.name, encode(unique_request("kept")))
    message = await trap_queue.queue.get(no_ack=True)
    assert message.delivery_mode == 2


async def _fill_queue(trap_queue: TrapQueue) -> None:
    limits: Any = {"x-max-length": 1, "x-overflow": "reject-publish", "x-expires": 60_000}
    queue = await trap_queue.channel.declare_queue(f"{trap_queue.queue.name}.full", durable=True, arguments=limits)
    await queue.bind(addresses.REDELIVER, queue.name)
    for _ in range(3):
        try:
            async with asyncio.timeout(5):
                await trap_queue.publish_to(queue.name)
        except aiormq.exceptions.DeliveryError:
            return


async def _has_messages(trap_queue: TrapQueue, count: int) -> bool:
    return (await trap_queue.queue.declare()).message_count == count


async def _is_empty(trap_queue: TrapQueue) -> bool:
    return await _has_messages(trap_queue, 0)
