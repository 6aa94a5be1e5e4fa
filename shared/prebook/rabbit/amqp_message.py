"""Wire messages as AMQP messages and back: CloudEvents headers beside the AMQP properties that tools look at."""

from datetime import datetime
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import CONVERSATION_ID_HEADER, MESSAGE_ID_HEADER, REPLY_TO_HEADER, TYPE_HEADER

CONTENT_TYPE = "application/json"


def to_amqp(wire: WireMessage, *, user: str, expires_at: datetime | None = None) -> Message:
    """Persistent always: a dead-lettered copy keeps the mode of its original."""
    headers = wire.headers
    return Message(
        wire.body,
        headers=dict(headers),
        content_type=CONTENT_TYPE,
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=headers.get(MESSAGE_ID_HEADER),
        correlation_id=headers.get(CONVERSATION_ID_HEADER),
        reply_to=headers.get(REPLY_TO_HEADER),
        type=headers.get(TYPE_HEADER),
        timestamp=utc_now(),
        expiration=_ttl_s(expires_at) if expires_at else None,
        user_id=user,
        app_id="prebook",
    )


def from_amqp(message: AbstractIncomingMessage) -> WireMessage:
    return WireMessage({name: _text(value) for name, value in message.headers.items()}, message.body)


def _ttl_s(expires_at: datetime) -> float:
    return max(0.001, (expires_at - utc_now()).total_seconds())


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
