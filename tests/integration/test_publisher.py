"""The publisher of `prebook.rabbit` against a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel
from structlog.testing import capture_logs
from yarl import URL

from prebook.messaging import addresses
from prebook.messaging.codec import WireMessage, encode
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.connection import PublisherConnection
from prebook.rabbit.publisher import RabbitPublisher
from tests.conditions import poll_until
from tests.integration.suite import Suite
from tests.messaging.examples import request
from tests.traps.trap_queue import run_connection

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


async def test_a_message_arrives_with_body_headers_and_properties(
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


async def test_concurrent_messages_with_one_id_have_separate_results(
    publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    queue = await channel.declare_queue(exclusive=True)
    wire = encode(request("same"))
    keys = (queue.name, "nowhere-1", queue.name, "nowhere-2") * 25
    results = await asyncio.gather(*(publisher.publish("", key, wire) for key in keys), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), Undeliverable] * 50
    assert (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count == 50


async def test_a_message_refused_by_a_full_queue_is_retryable(
    publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    limits: Any = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = await channel.declare_queue(exclusive=True, arguments=limits)
    await publisher.publish("", queue.name, encode(request("fits")))
    with pytest.raises(Unreachable) as refused:
        await publisher.publish("", queue.name, encode(request("does-not")))
    assert refused.value.reason == "nacked"


async def test_a_body_of_many_frames_arrives_whole(publisher: RabbitPublisher, channel: AbstractChannel) -> None:
    queue = await channel.declare_queue(exclusive=True)
    body = bytes(range(256)) * 2000
    await publisher.publish("", queue.name, WireMessage({"ce-id": "large"}, body))
    assert (await queue.get(timeout=5)).body == body


async def test_only_the_message_that_closes_the_channel_is_refused(
    publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    """The broker answers a missing exchange (404) and a wrong CC header (406) by closing the channel."""
    queue = await channel.declare_queue(exclusive=True)
    wire = encode(request("m"))
    wrong_header = WireMessage({**wire.headers, "CC": "not an array"}, wire.body)
    with capture_logs() as logs:
        results = await asyncio.gather(
            *(publisher.publish("", queue.name, wire) for _ in range(20)),
            publisher.publish("no-such-exchange", "key", wire),
            *(publisher.publish("", queue.name, wire) for _ in range(20)),
            publisher.publish("", queue.name, wrong_header),
            *(publisher.publish("", queue.name, wire) for _ in range(20)),
            return_exceptions=True,
        )
    refused = {number: str(result) for number, result in enumerate(results) if result is not None}
    assert refused.keys() == {20, 41}
    assert "404 NOT_FOUND - no exchange 'no-such-exchange'" in refused[20]
    assert "406 PRECONDITION_FAILED" in refused[41]
    assert {each["event"] for each in logs} == {"broker closed the publishing channel"}
    declared = await channel.declare_queue(queue.name, passive=True)
    assert (declared.declaration_result.message_count or 0) >= 60


async def test_an_expiry_in_the_far_future_is_accepted(publisher: RabbitPublisher, channel: AbstractChannel) -> None:
    """The broker refuses an expiration of more than 49 days, and closes the channel."""
    queue = await channel.declare_queue(exclusive=True)
    expires_at = datetime.now(UTC) + timedelta(days=3650)
    await publisher.publish("", queue.name, encode(request("m")), expires_at=expires_at)
    assert (await queue.get(timeout=5)).expiration == 0xFFFFFFFF / 1000


async def test_a_forbidden_routing_key_is_refused_without_loss_of_the_connection(suite: Suite) -> None:
    publisher = RabbitPublisher(suite.state.archive_url, NAME)
    async with run_connection(publisher.connection.run, publisher.connection.up):
        with pytest.raises(Undeliverable, match="403 ACCESS_REFUSED"):
            await publisher.publish(addresses.EVENTS, "event.booking_ended", encode(request("m")))
        with pytest.raises(Undeliverable, match="to no queue"):
            await publisher.publish(addresses.REDELIVER, "no-such-queue", encode(request("m")))


async def test_the_publisher_reconnects_after_its_connection_was_closed(
    suite: Suite, publisher: RabbitPublisher, channel: AbstractChannel
) -> None:
    queue = await channel.declare_queue(exclusive=True)
    state = suite.state
    account = (state.management_user, state.management_password)
    async with httpx.AsyncClient(base_url=state.management_url, auth=account, trust_env=False) as broker:

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
    await poll_until(lambda: _is_published(publisher, queue.name))


async def test_a_silent_peer_ends_in_a_timeout() -> None:
    disconnected = asyncio.Event()

    async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        disconnected.set()

    async with await asyncio.start_server(stay_silent, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TimeoutError):
            await PublisherConnection.connect(f"amqp://u:p@127.0.0.1:{port}/", "test", heartbeat_s=1, timeout_s=0.3)
        async with asyncio.timeout(5):
            await disconnected.wait()


async def test_a_wrong_password_is_reported_with_the_text_of_the_broker(suite: Suite) -> None:
    wrong = str(URL(suite.state.amqp_url).with_password("wrong"))
    with pytest.raises(Unreachable, match="ACCESS_REFUSED"):
        await PublisherConnection.connect(wrong, "test", heartbeat_s=10, timeout_s=5)


async def _is_published(publisher: RabbitPublisher, queue: str) -> bool:
    with suppress(Unreachable):
        await publisher.publish("", queue, encode(request()))
        return True
    return False
