"""Broker connection: order of the nodes, and the end of its task."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from yarl import URL

from prebook.rabbit import connection as connection_module
from prebook.rabbit.amqp_publisher.connection import PublisherConnection
from prebook.rabbit.connection import BrokerConnection, connect, shuffle_nodes
from tests.conditions import wait_until
from tests.leftovers import tasks_and_timers

NODES = 3


async def test_each_connection_attempt_takes_the_next_node() -> None:
    """The nodes are no brokers: they close each connection."""
    contacted: list[int] = []

    async def close_at_once(number: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        contacted.append(number)
        writer.close()

    async with AsyncExitStack() as stack:
        servers = []
        for number in range(NODES):
            server = await asyncio.start_server(partial(close_at_once, number), "127.0.0.1", 0)
            servers.append(await stack.enter_async_context(server))
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        connection = BrokerConnection(
            ",".join(f"amqp://u:p@127.0.0.1:{port}/v" for port in ports), "test", _fail, connect=connect
        )
        running = asyncio.create_task(connection.run())
        await wait_until(lambda: len(contacted) >= 2 * NODES, 20)
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()
    assert sorted(contacted[:NODES]) == list(range(NODES)), "every node once before any node twice"
    assert contacted[NODES : 2 * NODES] == contacted[:NODES]
    assert not connection.up.is_set()


async def _fail(_: AbstractConnection) -> Sequence[AbstractChannel]:
    raise AssertionError("no connection can be established")


async def test_a_connection_stops_although_the_client_swallowed_the_cancellation() -> None:
    """``asyncio.wait_for`` of Python 3.11 does so if the connection fails in the same turn of the loop."""
    connecting = asyncio.Event()

    async def swallow_cancellation(_: str, __: str) -> AbstractConnection:
        connecting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionResetError from None
        raise AssertionError

    running = asyncio.create_task(
        BrokerConnection("amqp://u:p@127.0.0.1/v", "test", _fail, connect=swallow_cancellation).run()
    )
    await asyncio.wait_for(connecting.wait(), 5)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


class HangingConnection:
    """Connection that never finishes to close, and ends at once when that is cancelled."""

    is_closed = False

    def __init__(self) -> None:
        self.close_callbacks = set[Any]()

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_stopped_connection_leaves_no_task_although_it_cannot_be_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_module, "CLOSE_TIMEOUT_S", 0.02)

    async def connect_at_once(_: str, __: str) -> HangingConnection:
        return HangingConnection()

    async def open_no_channel(_: HangingConnection) -> Sequence[AbstractChannel]:
        return ()

    before = tasks_and_timers()
    connection = BrokerConnection("amqp://u:p@127.0.0.1/v", "test", open_no_channel, connect=connect_at_once)
    running = asyncio.create_task(connection.run())
    await asyncio.wait_for(connection.up.wait(), 5)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
    assert tasks_and_timers() == before


async def test_a_cancelled_handshake_leaves_no_task() -> None:
    connection = PublisherConnection(heartbeat_s=10)
    before = tasks_and_timers()
    handshake = asyncio.create_task(connection.handshake(URL("amqp://u:p@127.0.0.1/v"), "test"))
    await asyncio.sleep(0)  # it waits for the broker's first method
    handshake.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handshake
    await asyncio.sleep(0)
    assert tasks_and_timers() == before


def test_a_comma_in_a_password_does_not_split_the_url() -> None:
    (only,) = shuffle_nodes("amqp://u:p,w@127.0.0.1:5672/v")
    assert only.startswith("amqp://u:p,w@127.0.0.1:5672/v")
    assert "heartbeat=10" in only
