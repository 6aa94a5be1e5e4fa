"""What the collector makes of a message, and that it holds on to it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prebook.messaging.errors import Unreachable
from prebook.messaging.recoverability.dead_letter import DeadLetter, XDeath
from prebook.rabbit.dead_letter_consumer import DeadLetterConsumer, dead_letter_from_amqp


@dataclass
class Channel:
    is_closed: bool = False


@dataclass
class Delivered:
    """As much of an incoming message as is looked at."""

    headers: dict[str, Any] = field(default_factory=dict)
    body: bytes = b"{}"
    routing_key: str = "pricing.events"
    timestamp: datetime | None = None
    channel: Channel = field(default_factory=Channel)
    acknowledged: int = 0

    async def ack(self) -> None:
        self.acknowledged += 1


def collector(take: Any) -> DeadLetterConsumer:
    return DeadLetterConsumer("amqp://none", "operations", "prebook.parking", 1, take)


async def test_it_is_acknowledged_once_it_is_safe_and_kept_until_then() -> None:
    message, tries = Delivered(), []

    async def take(parcel: DeadLetter) -> None:
        tries.append(message.acknowledged)
        if len(tries) < 3:
            raise Unreachable("the database is away")

    await collector(take)._consume(message)  # type: ignore[arg-type]
    assert tries == [0, 0, 0]
    assert message.acknowledged == 1


async def test_with_its_channel_gone_it_is_left_to_come_again() -> None:
    message = Delivered()

    async def take(parcel: DeadLetter) -> None:
        message.channel.is_closed = True
        raise Unreachable("the database is away")

    await collector(take)._consume(message)  # type: ignore[arg-type]
    assert message.acknowledged == 0


def test_deaths_are_read_whatever_their_form() -> None:
    told = {"queue": b"q", "exchange": "x", "routing-keys": [b"k"], "reason": "rejected", "count": 3}
    message = Delivered({"x-death": [{**told, "time": datetime(2026, 1, 1)}, {}, "nonsense"]})  # noqa: DTZ001
    parcel = dead_letter_from_amqp(message)  # type: ignore[arg-type]
    first = XDeath("q", "x", "k", "rejected", 3, datetime(2026, 1, 1, tzinfo=UTC))
    assert parcel.x_deaths == (first, XDeath("", "", "", "", 1, None))
    assert dead_letter_from_amqp(Delivered({"x-death": 7})).x_deaths == ()  # type: ignore[arg-type]
