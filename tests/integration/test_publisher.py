"""Our own publishing client against a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel
from yarl import URL

from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.connection import PublisherConnection
from prebook.rabbit.publisher import RabbitPublisher
from tests.conditions import poll_until
from tests.integration.suite import Suite
from tests.messaging.examples import request

pytestmark = pytest.mark.real
NAME = "test"


@pytest.fixture
async def publisher(suite: Suite) -> AsyncIterator[RabbitPublisher]:
    publisher = RabbitPublisher(suite.state.amqp_url, NAME)
    running = asyncio.create_task(publisher.connection.run())
    async with asyncio.timeout(10):
        await publisher.connection.up.wait()
    yield publisher
    running.cancel()
    await asyncio.wait({running}, timeout=10)
    assert running.done()


@pytest.fixture
async def channel(suite: Suite) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(suite.state.amqp_url) as connection:
        yield await connection.channel()


async def test_a_message_arrives_as_the_client_library_would_have_sent_it(
    publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    queue = await channel.declare_queue(exclusive=True)
    wire = encode(request("m"))
    await publisher.publish("", queue.name, wire)
    message = await queue.get(timeout=5)
    assert (message.body, message.headers) == (wire.body, wire.headers)
    assert (message.message_id, message.type, message.content_type) == (
        wire.headers["ce-id"],
        wire.headers["ce-type"],
        "application/json",
    )
    assert message.delivery_mode is aio_pika.DeliveryMode.PERSISTENT


async def test_one_id_to_four_addresses_at_once_is_told_apart(
    publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    queue = await channel.declare_queue(exclusive=True)
    wire = encode(request("same"))
    keys = (queue.name, "nowhere-1", queue.name, "nowhere-2") * 25
    ends = await asyncio.gather(*(publisher.publish("", key, wire) for key in keys), return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), Undeliverable] * 50
    assert (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count == 50


async def test_what_a_full_queue_refuses_may_be_tried_again(
    publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    limits: Any = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = await channel.declare_queue(exclusive=True, arguments=limits)
    await publisher.publish("", queue.name, encode(request("fits")))
    with pytest.raises(Unreachable) as refused:
        await publisher.publish("", queue.name, encode(request("does-not")))
    assert refused.value.reason == "nacked"


async def test_a_body_of_many_frames_arrives_whole(publisher: RabbitPublisher, channel: AbstractChannel) -> None:
    queue, body = await channel.declare_queue(exclusive=True), bytes(range(256)) * 2000
    await publisher.publish("", queue.name, WireMessage({"ce-id": "large"}, body))
    assert (await queue.get(timeout=5)).body == body


async def test_an_exchange_that_is_not_there_fails_what_is_under_way_and_no_more(
    publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    queue = await channel.declare_queue(exclusive=True)
    with pytest.raises(Unreachable, match="404"):
        await publisher.publish("no-such-exchange", "key", encode(request("m")))
    await poll_until(lambda: _arrives(publisher, queue.name))


async def test_it_comes_back_after_its_connection_was_closed(
    suite: Suite, publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    queue = await channel.declare_queue(exclusive=True)
    where = suite.state
    account = (where.management_user, where.management_password)
    async with httpx.AsyncClient(base_url=where.management_url, auth=account, trust_env=False) as broker:

        async def closed() -> bool:
            listed = (await broker.get("/api/connections")).json()
            ours = [
                c["name"]
                for c in listed
                if c.get("client_properties", {}).get("connection_name") == f"{NAME} publisher"
            ]
            for name in ours:
                await broker.delete(f"/api/connections/{name}")
            return bool(ours) or not publisher.connection.up.is_set()

        await poll_until(closed)
    await poll_until(lambda: _arrives(publisher, queue.name))


async def test_a_peer_that_says_nothing_is_given_up_in_time() -> None:
    over = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        over.set()

    async with await asyncio.start_server(silent, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            await PublisherConnection.connect(f"amqp://u:p@127.0.0.1:{port}/", "test", heartbeat_s=1, timeout_s=0.3)
        async with asyncio.timeout(5):
            await over.wait()


async def test_a_wrong_password_is_told_as_the_broker_tells_it(suite: Suite) -> None:
    wrong = str(URL(suite.state.amqp_url).with_password("wrong"))
    with pytest.raises(Unreachable, match="ACCESS_REFUSED"):
        await PublisherConnection.connect(wrong, "test", heartbeat_s=10, timeout_s=5)


async def _arrives(publisher: RabbitPublisher, queue: str) -> bool:
    with suppress(Unreachable):
        await publisher.publish("", queue, encode(request()))
        return True
    return False
