"""Messages that RabbitMQ delivers, as wire messages. Publishing has its own encoder in ``amqp_publisher``."""

from typing import Any

from aio_pika.abc import AbstractIncomingMessage

from prebook.messaging.codec import WireMessage
from prebook.messaging.envelope import JSON
from prebook.messaging.headers import CONTENT_TYPE_HEADER
from prebook.topology.sender_check import MessageOrigin

DELIVERY_COUNT_HEADER = "x-delivery-count"
"""Source: RabbitMQ, "Quorum Queues", poison message handling."""


def from_amqp(message: AbstractIncomingMessage) -> WireMessage:
    """Return the headers, as text, and the body of a delivered message; the content type is a property over AMQP."""
    headers = {name: field_text(value) for name, value in message.headers.items() if name != CONTENT_TYPE_HEADER}
    if message.content_type and message.content_type != JSON:
        headers[CONTENT_TYPE_HEADER] = message.content_type
    return WireMessage(headers, message.body)


def origin_of(message: AbstractIncomingMessage) -> MessageOrigin:
    """Return how a message reached its queue. The broker delivers no ``user_id`` that it has not verified."""
    return MessageOrigin(message.exchange or "", message.routing_key or "", message.user_id or "")


def count_redeliveries(message: AbstractIncomingMessage) -> int:
    """Return how often the message was delivered before and returned, as after a crash of its consumer.

    A quorum queue counts; any other only says whether it did.
    """
    if not message.redelivered:
        return 0
    count = message.headers.get(DELIVERY_COUNT_HEADER)
    return max(1, count) if isinstance(count, int) else 1


def field_text(value: Any) -> str:
    """Return the value of an AMQP field table as text; an empty one for no value.

    Bytes are decoded as UTF-8; what is not UTF-8 is replaced, since any client may publish it.
    """
    if value is None:
        return ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
