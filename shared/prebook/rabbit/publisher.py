"""Confirmed, mandatory publishing."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from aio_pika.abc import AbstractChannel
from yarl import URL

from prebook.coupling.ports import Publisher
from prebook.messaging.channel import Undeliverable, Unreachable
from prebook.messaging.clock import utc_now
from prebook.messaging.codec import Wire
from prebook.rabbit.amqp_publisher.connection import Session
from prebook.rabbit.amqp_publisher.frame_encoder import TooLong, published
from prebook.rabbit.amqp_publisher.unconfirmed import Pending
from prebook.rabbit.connection import CONNECT_TIMEOUT_S, HEARTBEAT_S, Link

CONFIRM_S = 10.0
"""Longer than a hung queue leader needs to be replaced, shorter than the relay's lease."""


class RabbitPublisher(Publisher):
    """Implements coupling.ports.Publisher on a connection of its own: a blocked publisher must not stop consumers."""

    def __init__(self, url: str, service: str) -> None:
        self._user = URL(url.partition(",")[0]).user or "guest"
        self._session: Session | None = None
        self.link = Link(url, f"{service} publishes", self._opened, connect=_session)

    async def publish(self, exchange: str, key: str, wire: Wire, *, expires_at: datetime | None = None) -> None:
        session, loop = self._session, asyncio.get_running_loop()
        if session is None or not self.link.up.is_set():
            raise Unreachable("there is no connection to the broker")
        try:
            frames = published(
                exchange,
                key,
                wire,
                user=self._user,
                now=utc_now(),
                expires_at=expires_at,
                frame_max=session.frame_max,
            )
        except TooLong as error:
            raise Undeliverable(str(error), cause="too_large") from None
        future: asyncio.Future[None] = loop.create_future()
        session.publish(frames, Pending(exchange, key, wire.headers.get("ce-id", ""), loop.time() + CONFIRM_S, future))
        await future

    @property
    def blocked_s(self) -> float | None:
        """For how long the broker has taken nothing; None: it takes. It tells only who has published meanwhile."""
        session = self._session if self.link.up.is_set() else None
        return session.blocked_s if session else None

    async def _opened(self, session: Session) -> Sequence[AbstractChannel]:
        self._session = session
        return ()


async def _session(url: str, name: str) -> Session:
    return await Session.opened(url, name, heartbeat_s=HEARTBEAT_S, timeout_s=CONNECT_TIMEOUT_S)
