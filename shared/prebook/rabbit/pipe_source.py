"""Source of a pipe: a queue whose prefetch is the number of items that the pipe can hold."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, MessageProcessError

from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage, decode
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import ForbiddenSender, Malformed, error_summary
from prebook.messaging.observer import NullObserver
from prebook.messaging.recoverability.dead_letter import first_failure_headers
from prebook.patterns.pipe import Pipe
from prebook.rabbit.amqp_message import from_amqp, origin_of
from prebook.rabbit.connection import BrokerConnection, connect
from prebook.rabbit.dead_letter_publisher import DeadLetterPublisher
from prebook.rabbit.publisher import RabbitPublisher
from prebook.rabbit.subscription import Subscription
from prebook.topology.sender_check import SenderCheck

log = structlog.get_logger()


class PipeRefusal(Exception):
    """A stage has refused the message for good. The text is the reason; the cause is stored beside it."""


@dataclass(frozen=True, slots=True)
class PulledMessage:
    """A message that the queue has delivered; ``content`` is its envelope."""

    content: Envelope
    message: AbstractIncomingMessage
    park_message: Callable[[AbstractIncomingMessage, str, Exception], Awaitable[None]]

    async def complete(self) -> None:
        """Acknowledge the message. On a closed channel nothing happens: the broker delivers the message again."""
        await _acknowledge(self.message)

    async def park(self, cause: str, reason: str) -> None:
        """Park the message with its cause, and acknowledge it. Raises Unreachable, Undeliverable."""
        await self.park_message(self.message, cause, PipeRefusal(reason))


class RabbitPipeSource:
    """Source of one pipe, as the broker account ``account``. Run both ``connections`` while it is used."""

    def __init__(self, url: str, account: str, pipe: Pipe, *, check_sender: SenderCheck) -> None:
        publisher = RabbitPublisher(url, account)
        self._pipe = pipe
        self._check_sender = check_sender
        self._dead_letters = DeadLetterPublisher(publisher, NullObserver())
        self._subscription: Subscription | None = None
        self._pulled: asyncio.Queue[PulledMessage] = asyncio.Queue()  # bounded by the prefetch
        consuming = BrokerConnection(
            url,
            f"{account} pipe",
            self._on_connected,
            connect=connect,
            is_healthy=lambda: self._subscription is None or self._subscription.is_alive,
        )
        self.connections = (publisher.connection, consuming)
        """The connection that parks, and the one that consumes."""

    @property
    def waiting(self) -> int:
        """Number of messages that the broker has delivered and the pipe has not pulled."""
        return self._pulled.qsize()

    async def pull(self) -> PulledMessage:
        """Return the next message; wait while there is none."""
        return await self._pulled.get()

    async def _on_connected(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        self._subscription = Subscription(
            connection, self._pipe.source, self._pipe.max_held, self._receive, isolates=False
        )
        return [await self._subscription.open()]

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        wire = from_amqp(message)
        try:
            self._check_sender(self._pipe.source, origin_of(message), wire.headers)
            envelope = decode(wire)
        except (ForbiddenSender, Malformed) as error:
            return await self._park(message, error.cause, error)
        return self._pulled.put_nowait(PulledMessage(envelope, message, self._park))

    async def _park(self, message: AbstractIncomingMessage, cause: str, error: Exception) -> None:
        first_failure = first_failure_headers(message.exchange or "", message.routing_key or "", utc_now())
        wire = from_amqp(message)
        parked = WireMessage({**first_failure, **wire.headers}, wire.body)
        await self._dead_letters.dead_letter(self._pipe.source, parked, cause, error)
        await _acknowledge(message)


async def _acknowledge(message: AbstractIncomingMessage) -> None:
    try:
        await message.ack()
    except (AMQPError, MessageProcessError, ConnectionError) as error:
        log.warning("message not acknowledged", message_id=message.message_id, error=error_summary(error))
