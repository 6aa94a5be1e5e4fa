"""Encoder of messages as AMQP 0-9-1 frames, straight into bytes. Pure.

Source: AMQP 0-9-1, sections 2.3.5 (frames) and 1.8.3.3 (basic.publish); RabbitMQ, "Protocol Errata" (field types).
"""

import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from prebook.messaging.codec import WireMessage
from prebook.messaging.envelope import JSON
from prebook.messaging.headers import (
    CONTENT_TYPE_HEADER,
    CONVERSATION_ID_HEADER,
    MESSAGE_ID_HEADER,
    REPLY_TO_HEADER,
    TYPE_HEADER,
)
from prebook.rabbit.errors import AmqpLimitExceeded

CHANNEL_NUMBER = 1
APP_ID = b"prebook"
PERSISTENT = 2
"""Delivery mode of every message: a dead-lettered copy keeps the mode of its original."""
FRAME_END = b"\xce"
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
METHOD_FRAME = 1
HEADER_FRAME = 2
BODY_FRAME = 3
FRAME_OVERHEAD = 8
"""Bytes of a frame in addition to its payload."""
MAX_TTL_MS = 0xFFFFFFFF
"""Longest expiration that RabbitMQ accepts, in milliseconds: 49 days. The receiver checks the expiry itself."""
BASIC_CLASS = 60
PUBLISH_METHOD = 40
MANDATORY = 1
_MAX_SHORT_STRING_BYTES = 255

# Property flags of class basic, in the order in which the properties follow them.
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_CORRELATION_ID, _REPLY_TO, _EXPIRATION = 1 << 10, 1 << 9, 1 << 8
_MESSAGE_ID, _TIMESTAMP, _TYPE, _USER_ID, _APP_ID = 1 << 7, 1 << 6, 1 << 5, 1 << 4, 1 << 3
_ALWAYS = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _TIMESTAMP | _USER_ID | _APP_ID


def encode_publish(
    exchange: str, key: str, wire: WireMessage, *, user: str, now: datetime, expires_at: datetime | None, frame_max: int
) -> bytes:
    """Return the frames of one mandatory basic.publish, of at most ``frame_max`` bytes each.

    ``user`` is the account that publishes, which the broker verifies. Raises AmqpLimitExceeded.
    """
    header = _content_header(wire, user, now, expires_at)
    if len(header) + FRAME_OVERHEAD > frame_max:
        raise AmqpLimitExceeded(f"the headers have {len(header)} bytes; a frame holds {frame_max - FRAME_OVERHEAD}")
    return b"".join(
        (
            _publish_frame(exchange, key),
            encode_frame(HEADER_FRAME, header),
            *_body_frames(wire.body, frame_max - FRAME_OVERHEAD),
        )
    )


def encode_frame(kind: int, payload: bytes) -> bytes:
    """Return one frame of the given type, on the publisher's channel."""
    return struct.pack(">BHI", kind, CHANNEL_NUMBER, len(payload)) + payload + FRAME_END


@lru_cache(maxsize=256)
def _publish_frame(exchange: str, key: str) -> bytes:
    start = struct.pack(">HHH", BASIC_CLASS, PUBLISH_METHOD, 0)
    return encode_frame(
        METHOD_FRAME, start + _short_string(exchange.encode()) + _short_string(key.encode()) + bytes((MANDATORY,))
    )


def _body_frames(body: bytes, max_bytes: int) -> Iterator[bytes]:
    for start in range(0, len(body), max_bytes):
        yield encode_frame(BODY_FRAME, body[start : start + max_bytes])


def _content_header(wire: WireMessage, user: str, now: datetime, expires_at: datetime | None) -> bytes:
    """Return the payload of the header frame: the properties that tools look at, and all CloudEvents headers.

    A property that is longer than the protocol allows is left out; the header that it copies has it in full.
    """
    headers = wire.headers
    content_type = headers.get(CONTENT_TYPE_HEADER, JSON).encode()
    flags, parts = _ALWAYS, [_short_string(content_type), _field_table(headers), bytes((PERSISTENT,))]
    for flag, text in (
        (_CORRELATION_ID, headers.get(CONVERSATION_ID_HEADER)),
        (_REPLY_TO, headers.get(REPLY_TO_HEADER)),
        (_EXPIRATION, _ttl_ms(now, expires_at)),
        (_MESSAGE_ID, headers.get(MESSAGE_ID_HEADER)),
    ):
        if property_value := _property(text):
            flags |= flag
            parts.append(property_value)
    parts.append(struct.pack(">Q", int(now.timestamp())))
    if kind := _property(headers.get(TYPE_HEADER)):
        flags |= _TYPE
        parts.append(kind)
    parts += (_short_string(user.encode()), _short_string(APP_ID))
    return struct.pack(">HHQH", BASIC_CLASS, 0, len(wire.body), flags) + b"".join(parts)


def message_id_property(headers: Mapping[str, str]) -> str:
    """Return the message id as the property has it: empty if it is too long for one."""
    message_id = headers.get(MESSAGE_ID_HEADER, "")
    return message_id if len(message_id.encode()) <= _MAX_SHORT_STRING_BYTES else ""


def _property(text: str | None) -> bytes:
    """Return the text as a short string, or nothing if it is empty or too long for one."""
    if not text:
        return b""
    raw = text.encode()
    return _short_string(raw) if len(raw) <= _MAX_SHORT_STRING_BYTES else b""


def _field_table(headers: Mapping[str, str]) -> bytes:
    entries = b"".join(
        [
            _field_name(name) + _long_string(value.encode())
            for name, value in headers.items()
            if name != CONTENT_TYPE_HEADER
        ]
    )
    return struct.pack(">I", len(entries)) + entries


@lru_cache(maxsize=1024)
def _field_name(name: str) -> bytes:
    """Return the name and the field type, a long string for every header."""
    return _short_string(name.encode()) + b"S"


def _short_string(text: bytes) -> bytes:
    if len(text) > _MAX_SHORT_STRING_BYTES:
        raise AmqpLimitExceeded(f"{text[:40]!r}... has {len(text)} bytes; {_MAX_SHORT_STRING_BYTES} are allowed")
    return bytes((len(text),)) + text


def _long_string(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def _ttl_ms(now: datetime, expires_at: datetime | None) -> str:
    """Return the remaining time to live in milliseconds, at least 1; an empty text without an expiry."""
    return str(min(MAX_TTL_MS, max(1, int((expires_at - now).total_seconds() * 1000)))) if expires_at else ""
