"""Bytes that one message costs on the connection to the broker, counted by a forwarder in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aio_pika
from yarl import URL

from prebook.contracts.events import RoutePlanned
from prebook.contracts.route import RouteGeometry
from prebook.flows import ROUTE_PLANNED
from prebook.lab.background import run_in_background
from prebook.lab.experiments.events import PLAN
from prebook.messaging.claim_checks import ClaimCheckPolicy
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import encode
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.rabbit.publisher import RabbitPublisher

QUEUE = "lab.claim_check.bytes"
BUFFER_BYTES = 65_536
POLICY = ClaimCheckPolicy(threshold_bytes=1_024, lifetime=timedelta(days=1))


class ByteCounter:
    """TCP forwarder to the broker, which counts the bytes sent to it."""

    def __init__(self, target: URL) -> None:
        self.sent = 0
        self._target = target

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[str]:
        """Forward connections to the returned URL while the block runs."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            yield str(self._target.with_host("127.0.0.1").with_port(port))

    async def _forward(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        broker, to_broker = await asyncio.open_connection(self._target.host, self._target.port)
        await asyncio.gather(self._copy(client, to_broker, counts=True), self._copy(broker, to_client, counts=False))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counts: bool) -> None:
        while chunk := await source.read(BUFFER_BYTES):
            self.sent += len(chunk) if counts else 0
            sink.write(chunk)
            await sink.drain()
        sink.close()


async def count_bytes(amqp_url: str, geometry: RouteGeometry) -> tuple[int, int]:
    """Return the bytes of one event with this route, with its body inside and with a claim check."""
    inside = _event(geometry)
    checked, _ = POLICY.check_in(inside)
    counter = ByteCounter(URL(amqp_url))
    async with await aio_pika.connect(amqp_url) as connection, counter.listen() as url:
        channel = await connection.channel()
        await channel.declare_queue(QUEUE, exclusive=True)
        publisher = RabbitPublisher(url, "lab")
        async with run_in_background(publisher.connection.run()):
            await publisher.connection.up.wait()
            return await _count(publisher, counter, inside), await _count(publisher, counter, checked)


async def _count(publisher: RabbitPublisher, counter: ByteCounter, envelope: Envelope) -> int:
    before = counter.sent
    await publisher.publish("", QUEUE, encode(envelope))
    return counter.sent - before


def _event(geometry: RouteGeometry) -> Envelope:
    booking_id = "bk_lab"
    return Envelope(
        id=message_id(booking_id, ROUTE_PLANNED.name, "1"),
        kind=MessageKind.EVENT,
        flow=ROUTE_PLANNED.name,
        body=RoutePlanned(booking_id=booking_id, revision=1, geometry=geometry),
        source=ROUTE_PLANNED.publisher,
        conversation_id=booking_id,
        time=utc_now(),
        plan=PLAN,
    )
