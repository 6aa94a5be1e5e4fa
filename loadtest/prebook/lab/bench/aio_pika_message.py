"""Wire messages as aio-pika publishes them, with the properties that the suite's own publisher sets."""

from datetime import datetime

from aio_pika import DeliveryMode, Message

from prebook.messaging.clock import utc_now
from prebook.messaging.codec import WireMessage
from prebook.messaging.headers import CONVERSATION_ID_HEADER, MESSAGE_ID_HEADER, REPLY_TO_HEADER, TYPE_HEADER


def to_aio_pika(wire: WireMessage, *, user: str, expires_at: datetime | None = None) -> Message:
    """Return the message for ``Exchange.publish``. ``user`` is the broker account that publishes it.

    ``tests/rabbit/test_frame_encoder.py`` compares the properties with those of ``rabbit.amqp_publisher``.
    """
    headers = wire.headers
    return Message(
        wire.body,
        headers=dict(headers),
        content_type="application/json",
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=headers.get(MESSAGE_ID_HEADER),
        correlation_id=headers.get(CONVERSATION_ID_HEADER),
        reply_to=headers.get(REPLY_TO_HEADER),
        type=headers.get(TYPE_HEADER),
        timestamp=utc_now(),
        expiration=max(0.001, (expires_at - utc_now()).total_seconds()) if expires_at else None,
        user_id=user,
        app_id="prebook",
    )
