"""Properties and headers that a client library cannot decode, by name, as a stranger may publish them."""

import struct
from collections.abc import Callable, Mapping

from tests.rabbit.raw_amqp import array, short, table, text, text_table

MICROSECONDS = struct.pack(">Q", 1_780_000_000_000_000)
YEAR_10000 = struct.pack(">Q", 253_402_300_800_000)
MAX_TIME = b"\xff" * 8
NESTED = 2_000
Build = Callable[[Mapping[str, str]], Mapping[str, bytes]]


def nested_arrays(depth: int) -> bytes:
    """Return the field value of arrays in arrays."""
    value = b"V"
    for _ in range(depth):
        value = array(value)
    return value


def _property(**properties: bytes) -> Build:
    return lambda headers: {"headers": text_table(headers), **properties}


def _header(name: bytes | str, value: bytes) -> Build:
    return lambda headers: {"headers": text_table(headers, (name, value), ("last", text("kept")))}


UNDECODABLE_MESSAGES: Mapping[str, tuple[str, Build]] = {
    "type that is not UTF-8": ("type", _property(type=short(b"\xff\xfe"))),
    "message id that is not UTF-8": ("message_id", _property(message_id=short(b"m\xc3"))),
    "reply-to that is not UTF-8": ("reply_to", _property(reply_to=short(b"\x80" * 255))),
    "timestamp in microseconds": ("timestamp", _property(timestamp=MICROSECONDS)),
    "timestamp after the year 9999": ("timestamp", _property(timestamp=YEAR_10000)),
    "largest timestamp": ("timestamp", _property(timestamp=MAX_TIME)),
    "two undecodable properties": (
        "timestamp",
        _property(timestamp=MAX_TIME, type=short(b"\xff"), app_id=short("decodable")),
    ),
    "timestamp in the headers": ("sent-at", _header("sent-at", b"T" + MICROSECONDS)),
    "timestamp in an array": ("times", _header("times", array(text("x"), b"T" + MAX_TIME))),
    "timestamp in a table": ("nested", _header("nested", b"F" + table([("at", b"T" + MAX_TIME)]))),
    "header name that is not UTF-8": ("\\xff\\xfe", _header(b"\xff\xfe", text("x"))),
    "deeply nested arrays": ("deep", _header("deep", nested_arrays(NESTED))),
    "x-death with an impossible time": (
        "x-death",
        _header("x-death", array(b"F" + table([("time", b"T" + MAX_TIME), ("queue", text("q"))]))),
    ),
}
"""Name of the undecodable field, and the encoded properties of a message with given headers and that field."""
