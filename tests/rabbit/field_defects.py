"""Defects of AMQP fields: headers, properties, and the bytes of a field table."""

import random
import struct
from collections.abc import Callable, Sequence

from prebook.messaging.headers import DEAD_LETTER_HEADERS
from tests.rabbit.raw_amqp import array, long_string, short, table, text
from tests.rabbit.undecodable_messages import MAX_TIME, MICROSECONDS, nested_arrays

Headers = list[tuple[bytes | str, bytes]]
HeaderDefect = Callable[[random.Random, Headers], None]
PropertyDefect = Callable[[random.Random, dict[str, bytes]], None]
TableDefect = Callable[[random.Random, bytes], bytes]
FIRST = 1
"""Position of the first header that may be spoiled: the one before identifies the message."""
TEXTS: Sequence[bytes] = (
    b"",
    b" ",
    b"\x00",
    b"a\x00b",
    b"[/x]",
    b"\x1b]0;owned\x07\x1b[31mRED",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    "\u202eabc\u2066".encode(),
    "e\u0301\u200b".encode(),
    b"line\r\nX: y",
    b"x" * 201,
    b"x" * 300,
    b"x" * 5000,
    b"x" * 60_000,
    b"-1",
    b"0",
    b"99999",
    b"9" * 5000,
    "\u00b2".encode(),
    b"1e3",
    b"2026-02-30T00:00:00Z",
    b"9999-12-31T23:59:59+00:00",
    b"0001-01-01T00:00:00+23:59",
    b"2031-W01-1",
    b"2031-05-01T12:00:00.123456789Z",
    b"quote_fare=pigeon",
    b"request",
    b"reply",
    b"event",
    b"notify_rider",
    b"prebook.notify_rider.v99",
    b"../../etc/passwd",
    b"' OR 1=1 --",
    b"${jndi:ldap://x}",
)
VALUES: Sequence[bytes] = (
    b"V",
    b"t\x01",
    b"b\xff",
    b"s\x80\x00",
    b"u\xff\xff",
    b"I\x80\x00\x00\x00",
    b"i\xff\xff\xff\xff",
    b"l" + b"\x80" + b"\x00" * 7,
    b"f\x7f\xc0\x00\x00",
    b"d\x7f\xf0" + b"\x00" * 6,
    b"D\xff\xff\xff\xff\xff",
    b"x" + long_string(b"\x00\xff"),
    b"T" + MICROSECONDS,
    b"T" + MAX_TIME,
    b"T" + struct.pack(">Q", 0),
    array(),
    array(text("a"), b"V", array(b"t\x00")),
    b"F" + table([]),
    b"F" + table([("a", b"F" + table([("b", text("c"))])), ("a", b"V")]),
    nested_arrays(20),
    nested_arrays(1_000),
    array(*[text("q")] * 2_000),
    array(b"F" + table([("queue", text("q")), ("count", text("many")), ("time", b"T" + MAX_TIME)])),
)
"""Encoded values of every type that the broker knows."""
NAMES: Sequence[bytes] = (
    b"",
    b"\xff\xfe",
    b"n" * 255,
    b"a\x00b",
    b"[/x]",
    b"x-death",
    b"x-delivery-count",
    b"x-acquired-count",
    b"x-first-death-queue",
    b"x-last-death-reason",
    b"x-stream-offset",
    b"x-match",
    b"x-delay",
    b"x-message-ttl",
    b"CE-ID",
    b"content-type",
    b"traceparent",
    b"tracestate",
    *sorted(name.encode() for name in DEAD_LETTER_HEADERS),
)
SHORT_PROPERTIES = ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id")
SHORT_TEXTS = tuple(value for value in TEXTS if len(value) < 256)


def _spoil_text(source: random.Random, headers: Headers) -> None:
    at = source.randrange(FIRST, len(headers))
    headers[at] = (headers[at][0], text(source.choice(TEXTS)))


def _spoil_type(source: random.Random, headers: Headers) -> None:
    at = source.randrange(FIRST, len(headers))
    headers[at] = (headers[at][0], source.choice(VALUES))


def _remove(source: random.Random, headers: Headers) -> None:
    del headers[source.randrange(FIRST, len(headers))]


def _repeat(source: random.Random, headers: Headers) -> None:
    headers.append((headers[source.randrange(FIRST, len(headers))][0], text(source.choice(TEXTS))))


def _exchange(source: random.Random, headers: Headers) -> None:
    first, second = (source.randrange(FIRST, len(headers)) for _ in range(2))
    headers[first], headers[second] = (headers[first][0], headers[second][1]), (headers[second][0], headers[first][1])


def _add(source: random.Random, headers: Headers) -> None:
    headers.append((source.choice(NAMES), source.choice((*VALUES, *(text(value) for value in TEXTS)))))


def _flip_bit(source: random.Random, headers: Headers) -> None:
    at = source.randrange(FIRST, len(headers))
    name, value = headers[at]
    byte = source.randrange(5, len(value)) if len(value) > 5 else 0
    headers[at] = (name, value[:byte] + bytes([value[byte] ^ 1 << source.randrange(8)]) + value[byte + 1 :])


def _shift_attempt(source: random.Random, headers: Headers) -> None:
    headers[:] = [each for each in headers if each[0] != "prebook-attempt"]
    headers.append(("prebook-attempt", text(str(source.choice((2, 4, 5, 49, 50, 51, 9_999, 99_999))))))


def _odd_short_text(source: random.Random, properties: dict[str, bytes]) -> None:
    properties[source.choice(SHORT_PROPERTIES)] = short(source.choice(SHORT_TEXTS))


def _odd_time(source: random.Random, properties: dict[str, bytes]) -> None:
    properties["timestamp"] = source.choice((MICROSECONDS, MAX_TIME, b"\x00" * 8, struct.pack(">Q", 2**62)))


def _odd_expiration(source: random.Random, properties: dict[str, bytes]) -> None:
    properties["expiration"] = short(source.choice((b"", b"soon", b"-1", b"0", b"1", b"50", b"4294967296", b"1.5")))


def _odd_mode(source: random.Random, properties: dict[str, bytes]) -> None:
    properties[source.choice(("delivery_mode", "priority"))] = source.choice((b"\x00", b"\x01", b"\x03", b"\xff"))


def _all_properties(source: random.Random, properties: dict[str, bytes]) -> None:
    properties |= {name: short(source.choice(SHORT_TEXTS)) for name in SHORT_PROPERTIES}


def _cut_table(source: random.Random, whole: bytes) -> bytes:
    """Leave out the end of the entries, and correct the length."""
    return long_string(whole[4 : source.randrange(4, len(whole))])


def _wrong_length(source: random.Random, whole: bytes) -> bytes:
    return struct.pack(">I", source.choice((0, 1, len(whole), 2**31, 2**32 - 1))) + whole[4:]


def _unknown_type(source: random.Random, whole: bytes) -> bytes:
    return long_string(whole[4:] + short("odd") + bytes([source.choice(b"zQ?\x00\xff")]) + b"\x00" * 8)


def _flip_table_bit(source: random.Random, whole: bytes) -> bytes:
    at = source.randrange(4, len(whole))
    return whole[:at] + bytes([whole[at] ^ 1 << source.randrange(8)]) + whole[at + 1 :]


def _many_fields(source: random.Random, _: bytes) -> bytes:
    return table([(f"{number:x}", b"V") for number in range(source.choice((300, 10_000)))])


def _routing_list(source: random.Random, keys: Sequence[str]) -> tuple[str, tuple[Sequence[str], bytes]]:
    chosen = [source.choice(keys) for _ in range(source.choice((0, 1, 2)))]
    return source.choice(("CC", "BCC")), (chosen, array(*map(text, chosen)))


def _routing_of_another_type(source: random.Random, keys: Sequence[str]) -> tuple[str, tuple[Sequence[str], bytes]]:
    return source.choice(("CC", "BCC")), ((), source.choice((text(source.choice(keys)), b"V", b"t\x01")))


HEADER_DEFECTS: Sequence[tuple[str, HeaderDefect]] = (
    ("header: odd text", _spoil_text),
    ("header: odd text", _spoil_text),
    ("header: another type", _spoil_type),
    ("header: missing", _remove),
    ("header: twice", _repeat),
    ("headers: exchanged", _exchange),
    ("header: added", _add),
    ("header: added", _add),
    ("header: bit flipped", _flip_bit),
    ("header: attempt", _shift_attempt),
)
PROPERTY_DEFECTS: Sequence[tuple[str, PropertyDefect]] = (
    ("property: odd text", _odd_short_text),
    ("property: time", _odd_time),
    ("property: expiration", _odd_expiration),
    ("property: mode or priority", _odd_mode),
    ("properties: all odd", _all_properties),
)
TABLE_DEFECTS: Sequence[tuple[str, TableDefect]] = (
    ("table: cut", _cut_table),
    ("table: wrong length", _wrong_length),
    ("table: unknown type", _unknown_type),
    ("table: bit flipped", _flip_table_bit),
    ("table: many fields", _many_fields),
)
ROUTING_HEADERS = (_routing_list, _routing_list, _routing_of_another_type)
"""Functions that return the name of a routing header, and its keys with the encoded value."""
