"""Confirmed, mandatory publishing."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from aio_pika.abc import AbstractChannel
from yarl import URL

from prebook.coupling.ports import Publisher
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.headers import MESSAGE_ID_HEADER
from prebook.rabbit.amqp_publisher.connection import PublisherConnection
from prebook.rabbit.amqp_publisher.frame_encoder import AmqpLimitExceeded, encode_publish
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm
from prebook.rabbit.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S, BrokerConnection

CONFIRM_TIMEOUT_S = 10.0
"""Longer than a hung queue leader needs to be replaced, shorter than the relay's lease."""


class RabbitPublisher(Publisher):
    """Implements coupling.ports.Publisher on a connection of its own: a blocked publisher must not stop consumers."""

    def __init__(self, url: str, service: str) -> None:
        self._user = URL(url.partition(",")[0]).user or "guest"
        self._publisher_connection: PublisherConnection | None = None
        self.connection = BrokerConnection(url, f"{service} publisher", self._on_connected, connect=_connect)

    async def publish(
        self, exchange: str, routing_key: str, message: WireMessage, *, expires_at: datetime | None = None
    ) -> None:
        session, loop = self._publisher_connection, asyncio.get_running_loop()
        if session is None or not self.connection.up.is_set():
            raise Unreachable("there is no connection to the broker")
        try:
            frames = encode_publish(
                exchange,
                routing_key,
                message,
                user=self._user,
                now=utc_now(),
                expires_at=expires_at,
                frame_max=session.frame_max,
            )
        except AmqpLimitExceeded as error:
            raise Undeliverable(str(error), cause="too_large") from None
        future: asyncio.Future[None] = loop.create_future()
        session.publish(
            frames,
            PendingConfirm(
                exchange,
                routing_key,
                message.headers.get(MESSAGE_ID_HEADER, ""),
                loop.time() + CONFIRM_TIMEOUT_S,
                future,
            ),
        )
        await future

    @property
    def blocked_s(self) -> float | None:
        """For how long the broker has taken nothing; None: it takes. It tells only who has published meanwhile."""
        session = self._publisher_connection if self.connection.up.is_set() else None
        return session.blocked_s if session else None

    async def _on_connected(self, connection: PublisherConnection) -> Sequence[AbstractChannel]:
        self._publisher_connection = connection
        return ()


async def _connect(url: str, name: str) -> PublisherConnection:
    return await PublisherConnection.connect(url, name, heartbeat_s=HEARTBEAT_S, timeout_s=CONNECT_TIMEOUT_S)
