"""A publisher whose channel the broker closes: the connection stays, and only the offending message is refused."""

import asyncio

from pamqp import commands

from prebook.messaging.codec import encode
from prebook.messaging.errors import Undeliverable
from prebook.rabbit.publisher import RabbitPublisher
from tests.messaging.examples import request
from tests.rabbit.fake_broker import FakeConnection, fake_broker
from tests.traps.trap_queue import run_connection

MISSING = "missing"
MESSAGES = 200
NO_EXCHANGE = commands.Channel.Close(404, "NOT_FOUND - no exchange 'missing' in vhost 'v'", 60, 40)


async def confirm_or_close(connection: FakeConnection) -> None:
    """Confirm what is published to existing exchanges, one confirm for each; close the channel at any other message."""
    await connection.open()
    tag = 0
    is_open = True
    while True:
        received = await connection.read_frame()
        if isinstance(received, commands.Basic.Publish) and is_open:
            is_open = received.exchange != MISSING
            tag += 1
            connection.send(commands.Basic.Ack(tag) if is_open else NO_EXCHANGE)
        elif isinstance(received, commands.Channel.Open):
            connection.send(commands.Channel.OpenOk())
        elif isinstance(received, commands.Confirm.Select):
            connection.send(commands.Confirm.SelectOk())
            tag = 0
            is_open = True


async def test_only_the_offending_messages_are_refused_and_the_connection_is_kept() -> None:
    wire = encode(request("m"))
    offending = {17, 18, 150}
    async with fake_broker(confirm_or_close) as broker:
        publisher = RabbitPublisher(broker.url, "test")
        async with run_connection(publisher.connection.run, publisher.connection.up):
            results = await asyncio.gather(
                *(publisher.publish(MISSING if n in offending else "x", f"k{n}", wire) for n in range(MESSAGES)),
                return_exceptions=True,
            )
            await publisher.publish("x", "afterwards", wire)
            assert publisher.connection.up.is_set()
    assert len(broker.connections) == 1
    refused = {number: result for number, result in enumerate(results) if result is not None}
    assert refused.keys() == offending
    for number, error in refused.items():
        assert isinstance(error, Undeliverable)
        assert f"'k{number}'" in str(error)
        assert "404 NOT_FOUND" in str(error)


async def test_a_channel_that_is_closed_again_before_it_is_open_costs_the_connection() -> None:
    """Otherwise the two sides would open and close channels without an end."""

    async def refuse_channels(connection: FakeConnection) -> None:
        await connection.open()
        while True:
            if isinstance(await connection.read_frame(), commands.Basic.Publish | commands.Channel.Open):
                connection.send(NO_EXCHANGE)

    async with fake_broker(refuse_channels) as broker:
        publisher = RabbitPublisher(broker.url, "test")
        async with run_connection(publisher.connection.run, publisher.connection.up):
            results = await asyncio.gather(
                *(publisher.publish(MISSING, key, encode(request("m"))) for key in ("a", "b")), return_exceptions=True
            )
    assert "the broker closed the channel" in str(results[0])
