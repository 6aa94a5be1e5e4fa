"""Publisher of messages byte by byte, with confirms: a client library refuses to send most of those of the tests."""

import socket
import struct
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

PROPERTIES = (
    "content_type",
    "content_encoding",
    "headers",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
)
"""Properties of class basic, in the order of their flags, from the highest bit on."""
FRAME_MAX = 131_072
CHANNEL = 1


class Outcome(StrEnum):
    """Answer of the broker to a published message."""

    CONFIRMED = "confirmed"
    """Every queue that it routes to has it."""
    RETURNED = "returned"
    """It routes to no queue."""
    REJECTED = "rejected"
    """A queue did not take it."""
    REFUSED = "refused"
    """The broker closed the channel or the connection."""


class ClosedByBrokerError(Exception):
    """The broker closed the channel or the connection; the text has its reason."""


def short(value: bytes | str) -> bytes:
    """Return a short string."""
    raw = value if isinstance(value, bytes) else value.encode()
    return bytes([len(raw)]) + raw


def long_string(value: bytes | str) -> bytes:
    """Return a long string without its field type."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">I", len(raw)) + raw


def text(value: bytes | str) -> bytes:
    """Return the field value of a text."""
    return b"S" + long_string(value)


def array(*items: bytes) -> bytes:
    """Return the field value of an array of field values."""
    return b"A" + long_string(b"".join(items))


def table(entries: Sequence[tuple[bytes | str, bytes]]) -> bytes:
    """Return a field table of names and field values; with ``F`` before it, it is a field value."""
    return long_string(b"".join(short(name) + value for name, value in entries))


def text_table(headers: Mapping[str, str], *more: tuple[bytes | str, bytes]) -> bytes:
    """Return a field table of texts, and of more names with their field values."""
    return table([*((name, text(value)) for name, value in headers.items()), *more])


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return a frame."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def content_header(body: bytes, properties: Mapping[str, bytes]) -> bytes:
    """Return the payload of a content header with the encoded properties."""
    named = [(15 - bit, name) for bit, name in enumerate(PROPERTIES) if name in properties]
    flags = sum(1 << bit for bit, _ in named)
    return struct.pack(">HHQH", 60, 0, len(body), flags) + b"".join(properties[name] for _, name in named)


def publish_frames(exchange: str, key: bytes | str, header: bytes, body: bytes) -> bytes:
    """Return the frames of one mandatory message, with ``header`` as the payload of its content header."""
    address = struct.pack(">H", 0) + short(exchange) + short(key) + b"\x01"
    chunk = FRAME_MAX - 8
    frames = [method(CHANNEL, 60, 40, address), frame(2, CHANNEL, header)]
    return b"".join([*frames, *(frame(3, CHANNEL, body[at : at + chunk]) for at in range(0, len(body), chunk))])


def method(channel: int, class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    """Return the frame of a method."""
    return frame(1, channel, struct.pack(">HH", class_id, method_id) + arguments)


class RawConnection:
    """Connection with one channel in confirm mode. Blocking: call it in a thread."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port or 5672), timeout=30)
        self._buffer = b""
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(10, 10)
        login = b"\x00" + unquote(address.username or "").encode() + b"\x00" + unquote(address.password or "").encode()
        capabilities = table([("publisher_confirms", b"t\x01"), ("basic.nack", b"t\x01")])
        properties = table([("capabilities", b"F" + capabilities)])
        self._send(0, 10, 11, properties + short("PLAIN") + long_string(login) + short("en_US"))
        self._expect(10, 30)
        self._send(0, 10, 31, struct.pack(">HIH", 10, FRAME_MAX, 0))
        self._send(0, 10, 40, short(unquote(address.path[1:]) or "/") + b"\x00\x00")
        self._expect(10, 41)
        self._send(CHANNEL, 20, 10, b"\x00")
        self._expect(20, 11)
        self._send(CHANNEL, 85, 10, b"\x00")
        self._expect(85, 11)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the connection without a word."""
        self._socket.close()

    def publish(self, exchange: str, key: bytes | str, body: bytes, properties: Mapping[str, bytes]) -> None:
        """Publish one mandatory message. Raises ClosedByBrokerError, AssertionError unless a queue confirms it."""
        self._socket.sendall(publish_frames(exchange, key, content_header(body, properties), body))
        outcome = self._read_outcome()
        assert outcome is Outcome.CONFIRMED, outcome

    def send(self, frames: bytes, *, is_complete: bool = True) -> Outcome:
        """Send the frames of one mandatory message and return what the broker does with it.

        ``is_complete``: whether the broker can find the end of the message; otherwise nothing more is sent, and the
        broker sees the end of the connection. After ``REFUSED`` the connection is of no more use.
        """
        try:
            self._socket.sendall(frames)
            if not is_complete:
                self._socket.shutdown(socket.SHUT_WR)
            return self._read_outcome()
        except (ClosedByBrokerError, ConnectionError):
            return Outcome.REFUSED

    def _read_outcome(self) -> Outcome:
        """Return the outcome of the only message in flight. Raises ClosedByBrokerError."""
        is_returned = False
        while True:
            class_id, method_id, arguments = self._read_method()
            match class_id, method_id:
                case 60, 50:
                    is_returned = True
                case 60, 80:
                    return Outcome.RETURNED if is_returned else Outcome.CONFIRMED
                case 60, 120:
                    return Outcome.REJECTED
                case ((10 | 20), (40 | 50)):
                    code, size = struct.unpack(">HB", arguments[:3])
                    raise ClosedByBrokerError(f"{code} {arguments[3 : 3 + size].decode(errors='replace')}")

    def _send(self, channel: int, class_id: int, method_id: int, arguments: bytes) -> None:
        self._socket.sendall(method(channel, class_id, method_id, arguments))

    def _expect(self, class_id: int, method_id: int) -> None:
        received = self._read_method()
        assert received[:2] == (class_id, method_id), received

    def _read_method(self) -> tuple[int, int, bytes]:
        while True:
            while len(self._buffer) < 7 or len(self._buffer) < 8 + struct.unpack(">I", self._buffer[3:7])[0]:
                data = self._socket.recv(65_536)
                if not data:
                    raise ClosedByBrokerError("the broker closed the connection")
                self._buffer += data
            size = struct.unpack(">I", self._buffer[3:7])[0]
            kind, payload = self._buffer[0], self._buffer[7 : 7 + size]
            self._buffer = self._buffer[8 + size :]
            if kind == 1:
                class_id, method_id = struct.unpack(">HH", payload[:4])
                return class_id, method_id, payload[4:]
