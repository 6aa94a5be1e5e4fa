"""What a broker says to a publisher, out of the bytes that it sends. Pure.

Confirms are read by hand, for there is one for every message or few; all the rest by pamqp.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pamqp import commands, frame
from pamqp.header import ContentHeader

from prebook.rabbit.amqp_publisher.frame_encoder import BASIC, FRAME_OVERHEAD, HEADER, METHOD

START = 7
"""Bytes before a frame's payload."""
ACK, NACK = 80, 120


@dataclass(frozen=True, slots=True)
class Confirmed:
    """``accepted`` False is a nack: a queue refused it. ``multiple`` goes for every earlier one too."""

    tag: int
    multiple: bool
    accepted: bool


@dataclass(frozen=True, slots=True)
class Returned:
    """It fitted no binding. Its confirm follows, and says that it was dealt with, not that it was kept."""

    exchange: str
    key: str
    message_id: str
    why: str


class Incoming:
    """Fed with bytes as they arrive; gives what they say, and keeps what is not complete yet."""

    def __init__(self) -> None:
        self._rest = b""
        self._returning: commands.Basic.Return | None = None

    def feed(self, data: bytes) -> Iterator[Confirmed | Returned | Any]:
        """Everything but confirms and returned messages is a pamqp method. Raises pamqp's exceptions for garbage."""
        data, at = self._rest + data, 0
        while len(data) - at >= START:
            size = FRAME_OVERHEAD + int.from_bytes(data[at + 3 : at + START], "big")
            if len(data) - at < size:
                break
            told = self._frame(data[at], data[at : at + size])
            at += size
            if told is not None:
                yield told
        self._rest = data[at:]

    def _frame(self, kind: int, data: bytes) -> Confirmed | Returned | Any | None:
        if kind == METHOD:
            return _confirm(data) or self._method(data)
        if kind == HEADER and self._returning is not None:
            return self._returned(self._returning, frame.unmarshal(data)[2])
        return None  # a body of what was returned, or a heartbeat

    def _method(self, data: bytes) -> Any | None:
        told = frame.unmarshal(data)[2]
        if isinstance(told, commands.Basic.Return):
            self._returning = told
            return None
        return told

    def _returned(self, told: commands.Basic.Return, header: Any) -> Returned:
        self._returning = None
        message_id = header.properties.message_id if isinstance(header, ContentHeader) else None
        return Returned(told.exchange or "", told.routing_key or "", message_id or "", told.reply_text or "")


def _confirm(data: bytes) -> Confirmed | None:
    class_id, method_id = struct.unpack_from(">HH", data, START)
    if class_id != BASIC or method_id not in {ACK, NACK}:
        return None
    tag, bits = struct.unpack_from(">QB", data, START + 4)
    return Confirmed(tag, bool(bits & 1), method_id == ACK)
