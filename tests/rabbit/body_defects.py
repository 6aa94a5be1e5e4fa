"""Defects of message bodies: each function takes a valid body and returns a hostile one."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

BodyDefect = Callable[[random.Random, bytes], bytes]
UNKNOWN_FIELD = "body: unknown field"
MALFORMED_FIELD = "body: malformed unknown field"
VALUES: Sequence[Any] = (None, True, -1, 0, 2**63, -(2**70), 1.5, "", "\x00", "x" * 5000, [], {}, [[]], {"a": {}})
NUMBERS = (b"9" * 5000, b"1e999", b"-1e-999", b"NaN", b"-Infinity", b"0x10", b"01", b"1.", b"-", b"1_000", b"9" * 400)
TEXTS = (
    rb"\ud800",
    rb"\udc00\ud800",
    rb"\u0000",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    "\u202e".encode(),
    "e\u0301".encode(),
    b"\x01",
    b"\n",
    rb"\x41",
    b"\xef\xbb\xbf",
)
WHOLE = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'""',
    b"0",
    b"\x00",
    b"\xff\xfe",
    b"[" * 60_000,
    b'{"a":' * 20_000,
    b"[" * 500 + b"]" * 500,
    b"\x1f\x8b\x08\x00" + b"\x00" * 20,
    b"\x80\x04\x95.",
    b"{}{}",
    b"<a/>",
)


def _cut(source: random.Random, body: bytes) -> bytes:
    return body[: source.randrange(len(body))]


def _flip(source: random.Random, body: bytes) -> bytes:
    at = source.randrange(len(body))
    return body[:at] + bytes([body[at] ^ 1 << source.randrange(8)]) + body[at + 1 :]


def _insert(source: random.Random, body: bytes) -> bytes:
    at = source.randrange(len(body) + 1)
    return body[:at] + source.randbytes(source.choice((1, 2, 40))) + body[at:]


def _repeat_part(source: random.Random, body: bytes) -> bytes:
    start, end = sorted(source.randrange(len(body) + 1) for _ in range(2))
    return body[:end] + body[start:]


def _change_field(source: random.Random, body: bytes) -> bytes:
    fields = msgspec.json.decode(body)
    if fields:
        fields[source.choice(sorted(fields))] = source.choice(VALUES)
    return msgspec.json.encode(fields)


def _remove_field(source: random.Random, body: bytes) -> bytes:
    fields = msgspec.json.decode(body)
    fields.pop(source.choice(sorted(fields)), None) if fields else None
    return msgspec.json.encode(fields)


ADDITIONAL_FIELDS = (
    b'"":1',
    b'"__class__":"Message"',
    b'"' + b"x" * 300 + b'":null',
    rb'"\u0000":"\u0000"',
    b'"a":' + b'{"b":' * 200 + b"1" + b"}" * 200,
    b'"a":"' + b"y" * 60_000 + b'"',
    b'"a":1,"a":[]',
    b'"a":-1e-999',
)
MALFORMED_FIELDS = (
    b'"a":"\xff"',
    b'"\xed\xa0\x80":1',
    b'"a":"\x01"',
    rb'"a":"\ud800"',
    b'"a":tru',
    b'"a":{"b":1,}',
)


def _add_field(source: random.Random, body: bytes) -> bytes:
    """Add what a newer version of the sender may write: the message is handled as if it were not there."""
    if body == b"{}":
        return body
    field = source.choice(ADDITIONAL_FIELDS)
    return b"{" + field + b"," + body[1:] if source.random() < 0.5 else body[:-1] + b"," + field + b"}"


def _add_malformed_field(source: random.Random, body: bytes) -> bytes:
    field = source.choice(
        (b'"a":"\xff"', b'"\xed\xa0\x80":1', b'"a":"\x01"', rb'"a":"\ud800"', b'"a":tru', b'"a":{"b":1,}')
    )
    return body[:-1] + (b"," if len(body) > 2 else b"") + field + b"}"


def _repeat_field(source: random.Random, body: bytes) -> bytes:
    fields = msgspec.json.decode(body)
    name = source.choice(sorted(fields)) if fields else "a"
    return body[:-1] + b"," + msgspec.json.encode(name) + b":" + msgspec.json.encode(fields.get(name)) + b"}"


def _replace_value(source: random.Random, body: bytes, raw: bytes) -> bytes:
    """Put ``raw`` in the place of one field's value."""
    fields = msgspec.json.decode(body)
    name = source.choice(sorted(fields)) if fields else "a"
    kept = b"".join(
        msgspec.json.encode(known) + b":" + msgspec.json.encode(value) + b","
        for known, value in fields.items()
        if known != name
    )
    return b"{" + kept + msgspec.json.encode(name) + b":" + raw + b"}"


def _odd_number(source: random.Random, body: bytes) -> bytes:
    return _replace_value(source, body, source.choice(NUMBERS))


def _odd_text(source: random.Random, body: bytes) -> bytes:
    return _replace_value(source, body, b'"' + source.choice(TEXTS) + b'"')


def _nest(source: random.Random, body: bytes) -> bytes:
    depth = source.choice((10, 900, 30_000))
    return _replace_value(source, body, b"[" * depth + b"]" * depth)


def _encode_otherwise(source: random.Random, body: bytes) -> bytes:
    return body.decode().encode(source.choice(("utf-16", "utf-32-be", "utf-8-sig", "utf-7")))


def _replace_whole(source: random.Random, _: bytes) -> bytes:
    return source.choice(WHOLE)


BODY_DEFECTS: Sequence[tuple[str, BodyDefect]] = (
    ("body: cut", _cut),
    ("body: bit flipped", _flip),
    ("body: bytes inserted", _insert),
    ("body: part repeated", _repeat_part),
    ("body: field of another type", _change_field),
    ("body: field missing", _remove_field),
    (UNKNOWN_FIELD, _add_field),
    (MALFORMED_FIELD, _add_malformed_field),
    ("body: field twice", _repeat_field),
    ("body: odd number", _odd_number),
    ("body: odd text", _odd_text),
    ("body: nested", _nest),
    ("body: another encoding", _encode_otherwise),
    ("body: replaced", _replace_whole),
)
