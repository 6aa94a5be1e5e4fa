"""Booking whose relay publishes through a client library instead of the suite's own AMQP client; all else is the same.

Confirmed and mandatory, on one channel, in the relay's own window, with one timer for all timeouts and the collector
as in every service: ``python -m prebook.lab.bench.components.library_publisher aio_pika``, or ``aiormq``.
"""

import sys
from collections.abc import Sequence
from datetime import datetime

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq import Channel as RawChannel
from yarl import URL

from prebook.asyncio_tools import CoarseTimeout
from prebook.booking.app import SERVICE
from prebook.coupling.ports import Publisher
from prebook.lab.bench.aio_pika_message import to_aio_pika
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.rabbit.connection import BrokerConnection, connect
from prebook.rabbit.publisher import CONFIRM_TIMEOUT_S
from prebook.runtime import serve


class AioPikaPublisher(Publisher):
    """Implements coupling.ports.Publisher by ``Exchange.publish`` of aio-pika."""

    blocked_s: float | None = None
    """Always None: aio-pika does not report that the broker has blocked the connection."""

    def __init__(self, url: str, service: str) -> None:
        self._user = URL(url.partition(",")[0]).user or "guest"
        self._exchanges: dict[str, AbstractExchange] = {}
        self._timeout = CoarseTimeout(CONFIRM_TIMEOUT_S)
        self.connection = BrokerConnection(url, f"{service} publisher", self._on_connected, connect=connect)

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        """Publish the message and wait for its confirmation. Raises Unreachable, Undeliverable."""
        try:
            with self._timeout():
                await self._publish(exchange, routing_key, message, expires_at)
        except PublishError as error:
            raise Undeliverable(str(error), cause="unroutable") from error
        except (DeliveryError, ConnectionError, TimeoutError) as error:
            raise Unreachable(str(error)) from error

    async def _publish(self, exchange: str, key: str, message: WireMessage, expires_at: datetime | None) -> None:
        found = self._exchanges.get(exchange)
        if found is None:
            found = self._exchanges[exchange] = await self._channel.get_exchange(exchange, ensure=False)
        await found.publish(to_aio_pika(message, user=self._user, expires_at=expires_at), key)

    async def _on_connected(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        self._exchanges.clear()
        self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return [self._channel]


class AiormqPublisher(AioPikaPublisher):
    """The same by ``Channel.basic_publish`` of aiormq, which need not wait until a frame is written."""

    async def _publish(self, exchange: str, key: str, message: WireMessage, expires_at: datetime | None) -> None:
        await self._raw.basic_publish(
            message.body,
            exchange=exchange,
            routing_key=key,
            properties=to_aio_pika(message, user=self._user, expires_at=expires_at).properties,
            mandatory=True,
            wait=False,
        )

    async def _on_connected(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        channels = await super()._on_connected(connection)
        raw = await self._channel.get_underlay_channel()
        assert isinstance(raw, RawChannel)  # noqa: S101 - aio-pika's interface lacks ``wait``, which aiormq has
        self._raw = raw
        return channels


PUBLISHERS = {"aio_pika": AioPikaPublisher, "aiormq": AiormqPublisher}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in PUBLISHERS:  # noqa: PLR2004 - the program and its one argument
        sys.exit(f"usage: python -m prebook.lab.bench.components.library_publisher {'|'.join(PUBLISHERS)}")
    vars(serve)["RabbitPublisher"] = PUBLISHERS[sys.argv[1]]
    serve.main(SERVICE)
