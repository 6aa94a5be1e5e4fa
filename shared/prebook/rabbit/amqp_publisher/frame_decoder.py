"""Decoder of the frames that a broker sends to a publisher. Pure.

Confirms are decoded by hand, since there is about one for each message; pamqp decodes all other frames.
Source: AMQP 0-9-1, section 2.3.5 (frames); RabbitMQ, "Publisher Confirms" (basic.ack, basic.nack).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pamqp import commands, frame
from pamqp.header import ContentHeader

from prebook.rabbit.amqp_publisher.frame_encoder import BASIC_CLASS, FRAME_OVERHEAD, HEADER_FRAME, METHOD_FRAME

PAYLOAD_OFFSET = 7
"""Bytes before the payload of a frame."""
ACK_METHOD = 80
NACK_METHOD = 120


@dataclass(frozen=True, slots=True)
class PublisherConfirm:
    """basic.ack, or basic.nack if not ``accepted``. ``multiple`` includes all earlier delivery tags."""

    tag: int
    multiple: bool
    accepted: bool


@dataclass(frozen=True, slots=True)
class ReturnedMessage:
    """basic.return of a message that no binding matched. Its ack follows, although no queue has the message."""

    exchange: str
    key: str
    message_id: str
    reason: str


class FrameDecoder:
    """Incremental decoder: an incomplete frame is kept until the rest arrives."""

    def __init__(self) -> None:
        self._buffer = b""
        self._returning: commands.Basic.Return | None = None

    def feed(self, data: bytes) -> Iterator[PublisherConfirm | ReturnedMessage | Any]:
        """Yield the complete methods; all but confirms and returned messages are pamqp's, as are the errors raised."""
        data = self._buffer + data
        at = 0
        while len(data) - at >= PAYLOAD_OFFSET:
            size = FRAME_OVERHEAD + int.from_bytes(data[at + 3 : at + PAYLOAD_OFFSET], "big")
            if len(data) - at < size:
                break
            received = self._decode_frame(data[at], data[at : at + size])
            at += size
            if received is not None:
                yield received
        self._buffer = data[at:]

    def _decode_frame(self, kind: int, data: bytes) -> PublisherConfirm | ReturnedMessage | Any | None:
        if kind == METHOD_FRAME:
            return _decode_confirm(data) or self._decode_method(data)
        if kind == HEADER_FRAME and self._returning is not None:
            return self._decode_returned(self._returning, frame.unmarshal(data)[2])
        return None  # the body of a returned message, or a heartbeat

    def _decode_method(self, data: bytes) -> Any | None:
        method = frame.unmarshal(data)[2]
        if isinstance(method, commands.Basic.Return):
            self._returning = method
            return None
        return method

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
