"""Confirmed, mandatory publishing over our own AMQP client; see ``amqp_publisher/README.md``."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from aio_pika.abc import AbstractChannel
from yarl import URL

from prebook.coupling.ports import Publisher
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import TOO_LARGE, Undeliverable, Unreachable
from prebook.rabbit.amqp_publisher.connection import CLOSE_TIMEOUT_S, PublisherConnection
from prebook.rabbit.amqp_publisher.frame_encoder import encode_publish, message_id_property
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm
from prebook.rabbit.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S, BrokerConnection
from prebook.rabbit.errors import AmqpLimitExceeded

LAST_FRAME_TIMEOUT_S = CLOSE_TIMEOUT_S
"""Seconds that a closing connection waits for the broker's last frame."""
CONFIRM_TIMEOUT_S = 10.0
"""Longer than the replacement of a hung queue leader takes (7.3 s measured), shorter than the relay's lease."""


class RabbitPublisher(Publisher):
    """Publisher on its own connection: in an alarm, the broker stops reading from connections that publish."""

    def __init__(self, url: str, service: str) -> None:
        self._user = URL(url.partition(",")[0]).user or "guest"
        self._publisher_connection: PublisherConnection | None = None
        self.connection = BrokerConnection(url, f"{service} publisher", self._on_connected, connect=_connect)

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        """Publish one persistent message and wait for its confirm, up to ``CONFIRM_TIMEOUT_S`` seconds.

        Raises:
            Unreachable: no connection, no confirm in time, a blocked connection, or a queue refused the message.
            Undeliverable: no queue is bound, or the message exceeds a limit of the protocol.
        """
        connection = self._publisher_connection
        loop = asyncio.get_running_loop()
        if connection is None or not self.connection.up.is_set():
            raise Unreachable("no connection to the broker")
        try:
            frames = encode_publish(
                exchange,
                routing_key,
                message,
                user=self._user,
                now=utc_now(),
                expires_at=expires_at,
                frame_max=connection.frame_max,
            )
        except AmqpLimitExceeded as error:
            raise Undeliverable(str(error), cause=TOO_LARGE) from None
        future: asyncio.Future[None] = loop.create_future()
        connection.publish(
            frames,
            PendingConfirm(
                exchange,
                routing_key,
                message_id_property(message.headers),
                loop.time() + CONFIRM_TIMEOUT_S,
                future,
            ),
        )
        await future

    @property
    def blocked_s(self) -> float | None:
        """Seconds since the broker blocked the connection, or None. It notifies only connections that publish."""
        connection = self._publisher_connection if self.connection.up.is_set() else None
        return connection.blocked_s if connection else None

    async def _on_connected(self, connection: PublisherConnection) -> Sequence[AbstractChannel]:
        self._publisher_connection = connection
        return ()


async def _connect(url: str, name: str) -> PublisherConnection:
    return await PublisherConnection.connect(url, name, heartbeat_s=HEARTBEAT_S, timeout_s=CONNECT_TIMEOUT_S)
