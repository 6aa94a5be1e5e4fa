"""What a broker says to a publisher, out of the bytes that it sends. Pure.

Confirms are read by hand, for there is one for every message or few; all the rest by pamqp.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pamqp import commands, frame
from pamqp.header import ContentHeader

from prebook.rabbit.amqp_publisher.frame_encoder import BASIC_CLASS, FRAME_OVERHEAD, HEADER_FRAME, METHOD_FRAME

PAYLOAD_OFFSET = 7
"""Bytes before a frame's payload."""
ACK_METHOD, NACK_METHOD = 80, 120


@dataclass(frozen=True, slots=True)
class PublisherConfirm:
    """``accepted`` False is a nack: a queue refused it. ``multiple`` goes for every earlier one too."""

    tag: int
    multiple: bool
    accepted: bool


@dataclass(frozen=True, slots=True)
class ReturnedMessage:
    """It fitted no binding. Its confirm follows, and says that it was dealt with, not that it was kept."""

    exchange: str
    key: str
    message_id: str
    reason: str


class FrameDecoder:
    """Fed with bytes as they arrive; gives what they say, and keeps what is not complete yet."""

    def __init__(self) -> None:
        self._buffer = b""
        self._returning: commands.Basic.Return | None = None

    def feed(self, data: bytes) -> Iterator[PublisherConfirm | ReturnedMessage | Any]:
        """Everything but confirms and returned messages is a pamqp method. Raises pamqp's exceptions for garbage."""
        data, at = self._buffer + data, 0
        while len(data) - at >= PAYLOAD_OFFSET:
            size = FRAME_OVERHEAD + int.from_bytes(data[at + 3 : at + PAYLOAD_OFFSET], "big")
            if len(data) - at < size:
                break
            told = self._decode_frame(data[at], data[at : at + size])
            at += size
            if told is not None:
                yield told
        self._buffer = data[at:]

    def _decode_frame(self, kind: int, data: bytes) -> PublisherConfirm | ReturnedMessage | Any | None:
        if kind == METHOD_FRAME:
            return _decode_confirm(data) or self._decode_method(data)
        if kind == HEADER_FRAME and self._returning is not None:
            return self._decode_returned(self._returning, frame.unmarshal(data)[2])
        return None  # a body of what was returned, or a heartbeat

    def _decode_method(self, data: bytes) -> Any | None:
        told = frame.unmarshal(data)[2]
        if isinstance(told, commands.Basic.Return):
            self._returning = told
            return None
        return told

    def _decode_returned(self, method: commands.Basic.Return, header: Any) -> ReturnedMessage:
        self._returning = None
        message_id = header.properties.message_id if isinstance(header, ContentHeader) else None
        return ReturnedMessage(
            method.exchange or "", method.routing_key or "", message_id or "", method.reply_text or ""
        )


def _decode_confirm(data: bytes) -> PublisherConfirm | None:
    class_id, method_id = struct.unpack_from(">HH", data, PAYLOAD_OFFSET)
    if class_id != BASIC_CLASS or method_id not in {ACK_METHOD, NACK_METHOD}:
        return None
    tag, bits = struct.unpack_from(">QB", data, PAYLOAD_OFFSET + 4)
    return PublisherConfirm(tag, bool(bits & 1), method_id == ACK_METHOD)
