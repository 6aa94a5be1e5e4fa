"""Messages as AMQP 0-9-1 frames, encoded straight into bytes. Pure.

Source: AMQP 0-9-1, sections 2.3.5 (frames) and 1.8.3.3 (basic.publish); RabbitMQ's errata for the types of a table.
"""

import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from prebook.messaging.codec import Wire

CHANNEL = 1
CONTENT_TYPE, APP_ID = b"application/json", b"prebook"
PERSISTENT = 2
FRAME_END = b"\xce"
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
METHOD, HEADER, BODY = 1, 2, 3
FRAME_OVERHEAD = 8
BASIC, PUBLISH = 60, 40
MANDATORY = 1
_LONGEST_SHORT = 255

# Property flags of class basic, in the order in which the properties follow them.
_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 13, 1 << 12
_CORRELATION_ID, _REPLY_TO, _EXPIRATION = 1 << 10, 1 << 9, 1 << 8
_MESSAGE_ID, _TIMESTAMP, _TYPE, _USER_ID, _APP_ID = 1 << 7, 1 << 6, 1 << 5, 1 << 4, 1 << 3
_ALWAYS = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _TIMESTAMP | _USER_ID | _APP_ID


class TooLong(ValueError):
    """It does not fit into what the protocol has for it."""


def published(
    exchange: str, key: str, wire: Wire, *, user: str, now: datetime, expires_at: datetime | None, frame_max: int
) -> bytes:
    """All frames of one basic.publish. ``frame_max`` is the size that the broker agreed to. Raises TooLong."""
    header = _header(wire, user, now, expires_at)
    if len(header) + FRAME_OVERHEAD > frame_max:
        raise TooLong(f"the headers have {len(header)} bytes; a frame holds {frame_max - FRAME_OVERHEAD}")
    return b"".join((_method(exchange, key), frame(HEADER, header), *_bodies(wire.body, frame_max - FRAME_OVERHEAD)))


def frame(kind: int, payload: bytes, channel: int = CHANNEL) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + FRAME_END


@lru_cache(maxsize=256)
def _method(exchange: str, key: str) -> bytes:
    start = struct.pack(">HHH", BASIC, PUBLISH, 0)
    return frame(METHOD, start + _short(exchange.encode()) + _short(key.encode()) + bytes((MANDATORY,)))


def _bodies(body: bytes, most: int) -> Iterator[bytes]:
    for start in range(0, len(body), most):
        yield frame(BODY, body[start : start + most])


def _header(wire: Wire, user: str, now: datetime, expires_at: datetime | None) -> bytes:
    """CloudEvents headers beside the properties that tools look at; the same as ``rabbit.frames`` gives aio-pika."""
    told = wire.headers
    flags, parts = _ALWAYS, [_short(CONTENT_TYPE), _table(told), bytes((PERSISTENT,))]
    for flag, text in (
        (_CORRELATION_ID, told.get("ce-subject")),
        (_REPLY_TO, told.get("prebook-reply-to")),
        (_EXPIRATION, _left_ms(now, expires_at)),
        (_MESSAGE_ID, told.get("ce-id")),
    ):
        if text:
            flags |= flag
            parts.append(_short(text.encode()))
    parts.append(struct.pack(">Q", int(now.timestamp())))
    if kind := told.get("ce-type"):
        flags |= _TYPE
        parts.append(_short(kind.encode()))
    parts += (_short(user.encode()), _short(APP_ID))
    return struct.pack(">HHQH", BASIC, 0, len(wire.body), flags) + b"".join(parts)


def _table(headers: Mapping[str, str]) -> bytes:
    entries = b"".join([_name(name) + _long(value.encode()) for name, value in headers.items()])
    return struct.pack(">I", len(entries)) + entries


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    """With the type of what follows: a long string, as every header of ours is."""
    return _short(name.encode()) + b"S"


def _short(text: bytes) -> bytes:
    if len(text) > _LONGEST_SHORT:
        raise TooLong(f"{text[:40]!r}... has {len(text)} bytes; {_LONGEST_SHORT} are allowed there")
    return bytes((len(text),)) + text


def _long(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def _left_ms(now: datetime, expires_at: datetime | None) -> str:
    """What is left of its life; a message that has nothing left gets the least there is."""
    return str(max(1, int((expires_at - now).total_seconds() * 1000))) if expires_at else ""
