"""A publisher whose connection ends together with its handshake: it connects again, and is not ready until then."""

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest
from pamqp import commands

from prebook.messaging.codec import encode
from prebook.messaging.errors import Unreachable
from prebook.rabbit.publisher import RabbitPublisher
from tests.conditions import poll_until, wait_until
from tests.messaging.examples import request
from tests.rabbit.fake_broker import FakeConnection, fake_broker


def close_in_order(connection: FakeConnection) -> None:
    connection.writer.close()


def reset(connection: FakeConnection) -> None:
    sock: socket.socket = connection.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.writer.transport.abort()


def close_with_a_reason(connection: FakeConnection) -> None:
    connection.send(commands.Connection.Close(320, "CONNECTION_FORCED - shutdown", 0, 0), 0)


@pytest.mark.parametrize("end", [close_in_order, reset, close_with_a_reason])
async def test_a_connection_that_ends_right_after_its_handshake_is_replaced(
    end: Callable[[FakeConnection], None],
) -> None:
    """The client may see the end before it resumes behind its handshake, when nobody watches the connection yet."""
    healthy = asyncio.Event()

    async def serve(connection: FakeConnection) -> None:
        await connection.open()
        if not healthy.is_set():
            end(connection)
            return
        while True:
            if isinstance(await connection.read_frame(), commands.Basic.Publish):
                connection.send(commands.Basic.Ack(1))

    async with fake_broker(serve) as broker:
        publisher = RabbitPublisher(broker.url, "test")
        running = asyncio.create_task(publisher.connection.run())
        await wait_until(lambda: len(broker.connections) >= 3, 20)
        await wait_until(lambda: not publisher.connection.up.is_set(), 5)
        with pytest.raises(Unreachable):
            await publisher.publish("x", "k", encode(request("m")))
        healthy.set()
        await poll_until(lambda: _is_published(publisher))
        running.cancel()
        await asyncio.wait({running}, timeout=5)


async def _is_published(publisher: RabbitPublisher) -> bool:
    try:
        await publisher.publish("x", "k", encode(request("m")))
    except Unreachable:
        return False
    return True
