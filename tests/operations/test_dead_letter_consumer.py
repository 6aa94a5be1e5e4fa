"""The consumer of the parking queue: acknowledgement, and reading of x-death headers."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from structlog.testing import capture_logs

from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.dead_letter import DeadLetter, XDeath
from prebook.rabbit.dead_letter_consumer import DeadLetterConsumer, dead_letter_from_amqp


@dataclass
class Channel:
    is_closed: bool = False


@dataclass
class IncomingMessage:
    """The part of aio_pika's incoming message that the consumer uses."""

    headers: dict[str, Any] = field(default_factory=dict)
    body: bytes = b"{}"
    routing_key: str = "pricing.events"
    message_id: str | None = "m1"
    content_type: str | None = "application/json"
    user_id: str | None = "prebook_pricing"
    timestamp: datetime | None = None
    channel: Channel = field(default_factory=Channel)
    acknowledged: int = 0

    async def ack(self) -> None:
        self.acknowledged += 1


def consumer(record: Any) -> DeadLetterConsumer:
    return DeadLetterConsumer("amqp://none", "operations", "prebook.parking", 1, record)


async def test_a_dead_letter_is_acknowledged_once_it_is_recorded_and_retried_until_then() -> None:
    message = IncomingMessage()
    acknowledged_before = []

    async def record(_: DeadLetter) -> None:
        acknowledged_before.append(message.acknowledged)
        if len(acknowledged_before) < 3:
            raise Unreachable("the database is down")

    with capture_logs() as logs:
        await consumer(record)._consume(message)  # type: ignore[arg-type]
    assert [(event["event"], event["message_id"]) for event in logs] == [("dead letter not stored", "m1")] * 2
    assert acknowledged_before == [0, 0, 0]
    assert message.acknowledged == 1


async def test_a_dead_letter_whose_channel_is_closed_is_left_to_the_next_delivery() -> None:
    message = IncomingMessage()

    async def record(_: DeadLetter) -> None:
        message.channel.is_closed = True
        raise Unreachable("the database is down")

    await consumer(record)._consume(message)  # type: ignore[arg-type]
    assert message.acknowledged == 0


def test_x_death_headers_of_any_form_are_read() -> None:
    death = {"queue": b"q", "exchange": "x", "routing-keys": [b"k"], "reason": "rejected", "count": 3}
    message = IncomingMessage({"x-death": [{**death, "time": datetime(2026, 1, 1)}, {}, "nonsense"]})  # noqa: DTZ001
    dead_letter = dead_letter_from_amqp(message)  # type: ignore[arg-type]
    first = XDeath("q", "x", "k", "rejected", 3, datetime(2026, 1, 1, tzinfo=UTC))
    assert dead_letter.x_deaths == (first, XDeath("", "", "", "", 1, None))
    assert dead_letter_from_amqp(IncomingMessage({"x-death": 7})).x_deaths == ()  # type: ignore[arg-type]
