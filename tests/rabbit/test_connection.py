"""Which node of the broker a link connects to."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from aio_pika.abc import AbstractChannel, AbstractConnection

from prebook.rabbit.connection import BrokerConnection, connect, shuffle_nodes
from tests.conditions import becomes

NODES = 3


async def test_each_connection_is_to_the_next_node() -> None:
    """None of them is a broker: they hang up."""
    called: list[int] = []

    async def hang_up(number: int, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.append(number)
        writer.close()

    async with AsyncExitStack() as stack:
        servers = []
        for number in range(NODES):
            server = await asyncio.start_server(partial(hang_up, number), "127.0.0.1", 0)
            servers.append(await stack.enter_async_context(server))
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        link = BrokerConnection(
            ",".join(f"amqp://u:p@127.0.0.1:{port}/v" for port in ports), "tried", _never, connect=connect
        )
        running = asyncio.create_task(link.run())
        await becomes(lambda: len(called) >= 2 * NODES, 20)
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()
    assert sorted(called[:NODES]) == list(range(NODES)), "each before any of them again"
    assert called[NODES : 2 * NODES] == called[:NODES]
    assert not link.up.is_set()


async def _never(_: AbstractConnection) -> Sequence[AbstractChannel]:
    raise AssertionError("no connection comes about")


async def test_a_link_ends_though_the_client_swallowed_the_cancellation() -> None:
    """As ``wait_for`` of Python 3.11 does where the connection fails in the same turn."""
    connecting = asyncio.Event()

    async def swallowing(_: str, __: str) -> AbstractConnection:
        connecting.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ConnectionResetError from None
        raise AssertionError

    running = asyncio.create_task(BrokerConnection("amqp://u:p@127.0.0.1/v", "tried", _never, connect=swallowing).run())
    await asyncio.wait_for(connecting.wait(), 5)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


def test_a_comma_in_a_password_separates_nothing() -> None:
    (only,) = shuffle_nodes("amqp://u:p,w@127.0.0.1:5672/v")
    assert only.startswith("amqp://u:p,w@127.0.0.1:5672/v")
    assert "heartbeat=10" in only
