"""Consumer of the parking queue: retries each dead letter until it is stored, and never requeues one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, MessageProcessError

from prebook.messaging.errors import error_summary
from prebook.messaging.recoverability.dead_letter import DeadLetter, XDeath
from prebook.rabbit.amqp_message import field_text, from_amqp
from prebook.rabbit.connection import BrokerConnection, connect
from prebook.rabbit.subscription import Subscription

StoreDeadLetter = Callable[[DeadLetter], Awaitable[None]]
"""Commits a dead letter; stores one that is known already no second time. Raises anything."""
MIN_RETRY_DELAY_S = 0.2
MAX_RETRY_DELAY_S = 10.0
log = structlog.get_logger()


class DeadLetterConsumer:
    """Acknowledges a dead letter once ``store`` has returned, which means that it is committed.

    While ``store`` raises, the message stays unacknowledged. Requeueing it would count as a failed delivery,
    and the broker drops a message that reaches the delivery limit of a queue without a dead-letter exchange.
    """

    def __init__(self, url: str, service: str, queue: str, prefetch: int, store: StoreDeadLetter) -> None:
        """``prefetch`` is the maximum number of unacknowledged dead letters."""
        self._queue = queue
        self._prefetch = prefetch
        self._store = store
        self._subscription: Subscription | None = None
        self.connection = BrokerConnection(
            url,
            f"{service} dead-letter consumer",
            self._on_connected,
            connect=connect,
            is_healthy=lambda: self._subscription is None or self._subscription.is_alive,
        )

    async def _on_connected(self, connection: AbstractConnection) -> Sequence[AbstractChannel]:
        # A dead letter that cannot be stored stays unacknowledged and must not hold the others back.
        self._subscription = Subscription(connection, self._queue, self._prefetch, self._consume, isolates=False)
        return [await self._subscription.open()]

    async def _consume(self, message: AbstractIncomingMessage) -> None:
        dead_letter = dead_letter_from_amqp(message)
        delay_s = MIN_RETRY_DELAY_S
        while not message.channel.is_closed:
            try:
                await self._store(dead_letter)
                return await self._acknowledge(message)
            except Exception as error:  # noqa: BLE001 - whatever failed, the message must not be lost
                log.warning(
                    "dead letter not stored",
                    queue=self._queue,
                    message_id=message.message_id,
                    error=error_summary(error),
                    retry_in_s=delay_s,
                )
            await asyncio.sleep(delay_s)
            delay_s = min(MAX_RETRY_DELAY_S, delay_s * 2)
        return None

    async def _acknowledge(self, message: AbstractIncomingMessage) -> None:
        """Acknowledge a stored message. On a closed channel it is delivered again, and recognised as stored."""
        try:
            await message.ack()
        except (AMQPError, MessageProcessError, ConnectionError) as error:
            log.warning(
                "dead letter not acknowledged",
                queue=self._queue,
                message_id=message.message_id,
                error=error_summary(error),
            )


def dead_letter_from_amqp(message: AbstractIncomingMessage) -> DeadLetter:
    """Return the dead letter of a message of the parking queue, whatever its headers hold."""
    wire = from_amqp(message)
    deaths = tuple(_x_deaths(message.headers.get("x-death")))
    return DeadLetter(
        message.routing_key or "",
        wire.headers,
        wire.body,
        deaths,
        _as_utc(message.timestamp),
        message.user_id or "",
    )


def _x_deaths(header: Any) -> Iterator[XDeath]:
    for death in header if isinstance(header, list) else ():
        if isinstance(death, Mapping):
            yield _x_death(death)


def _x_death(entry: Mapping[str, Any]) -> XDeath:
    keys = entry.get("routing-keys")
    count = entry.get("count")
    return XDeath(
        queue=field_text(entry.get("queue")),
        exchange=field_text(entry.get("exchange")),
        routing_key=field_text(keys[0]) if isinstance(keys, list) and keys else "",
        reason=field_text(entry.get("reason")),
        count=count if isinstance(count, int) else 1,
        at=_as_utc(entry.get("time")),
    )


def _as_utc(at: Any) -> datetime | None:
    """Return an AMQP timestamp as UTC, which it is without saying so; None for any other value."""
    if not isinstance(at, datetime):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
