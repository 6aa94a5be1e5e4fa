"""Tolerant decoder of received frames: what the client library cannot decode no longer ends the connection.

pamqp raises an error for a property or header that it cannot represent, such as a text that is not UTF-8 or a time
after the year 9999, and aiormq then drops the connection with all that is delivered on it. The broker delivers the
message again, for ever. Any publisher may send one: the broker checks few of the fields. Here such fields are left out
of the decoded message and described in one header, by which the codec refuses the message: it is dead-lettered like any
other malformed one. Frames that pamqp can decode cost nothing more.
Source: AMQP 0-9-1, section 4.2.6.1 (content header) and 4.2.5 (field types); RabbitMQ, "Protocol Errata".
"""

import struct
from collections.abc import Iterator
from typing import Any

from pamqp import base, commands, constants, decode, frame
from pamqp.header import ContentHeader

from prebook.messaging.headers import UNDECODABLE_HEADER

MAX_FIELD_BYTES = 256
"""Bytes of one field that its description holds."""
MAX_DESCRIPTION_CHARS = 4096
"""Maximum length of the description of all fields of one message."""
VALID_DELIVERY_MODES = (None, 0, 1, 2)
FIXED_SIZES = {**dict.fromkeys(b"tbB", 1), **dict.fromkeys(b"su", 2), **dict.fromkeys(b"Iif", 4)} | {
    **dict.fromkeys(b"lLdT", 8),
    **dict.fromkeys(b"D", 5),
    **dict.fromkeys(b"V\x00", 0),
}
"""Size in bytes of a field value, by its type."""
LENGTH_PREFIXED = frozenset(b"SxAF")
"""Types of field values that begin with their length, in four bytes."""

FIXED_PART = struct.Struct(">HHQH")
"""Class, weight, body size and property flags; the properties fit into one word of flags."""
NESTING = frozenset(b"AF")
"""Types of field values that contain field values."""
MAX_PAMQP_BYTES = 8192
"""Size up to which pamqp decodes a content header, or an array or table in it: its effort grows with the square of the
number of fields, up to 2 s of processor time for 128 KiB."""
SPECIFIED_NAMES = {"message_type": "type"}
"""Name of a property in the specification, where pamqp has another one."""
HEADER_SIZE = 7
"""Bytes before the payload of a frame."""
METHOD_FRAME = 1
HEADER_FRAME = 2

_unmarshal = frame.unmarshal
Undecodable = dict[str, tuple[bytes, str]]
"""Raw bytes of each field that cannot be decoded, and why, by the name of the property or header."""


def install() -> None:
    """Let pamqp, and with it aiormq and aio-pika, decode all received frames by this module."""
    frame.unmarshal = unmarshal


def unmarshal(data_in: bytes) -> tuple[int, int, frame.FrameTypes]:
    """Decode one frame as pamqp does: return its size, its channel and its content.

    Properties and headers that cannot be decoded, or of which aio-pika could not build a message, are described in
    UNDECODABLE_HEADER. In the texts of methods, bytes that are not UTF-8 are escaped: they may be in the routing key of
    a delivery, or at the end of a reply text that the broker has cut. Raises UnmarshalingException for other errors.
    """
    if len(data_in) > MAX_PAMQP_BYTES and data_in[0] == HEADER_FRAME and (large := _decode_leniently(data_in)):
        return len(data_in), int.from_bytes(data_in[1:3], "big"), large
    try:
        decoded = _unmarshal(data_in)
    except Exception:  # also RecursionError and OverflowError, which pamqp lets through
        salvaged = _decode_leniently(data_in)
        if salvaged is None:
            raise
        return len(data_in), int.from_bytes(data_in[1:3], "big"), salvaged
    size, channel, content = decoded
    if type(content) is ContentHeader and _unusable_properties(content.properties):
        return size, channel, _decode_header(data_in[HEADER_SIZE : size - 1])
    return decoded


def _decode_leniently(data: bytes) -> ContentHeader | base.Frame | None:
    """Return the content of a frame that pamqp cannot decode; None if its limits are in doubt or it has no fields."""
    if len(data) != HEADER_SIZE + int.from_bytes(data[3:HEADER_SIZE], "big") + 1 or data[-1] != constants.FRAME_END:
        return None
    payload = data[HEADER_SIZE:-1]
    try:
        if data[0] == HEADER_FRAME:
            return _decode_header(payload)
        if data[0] == METHOD_FRAME:
            method_type = commands.INDEX_MAPPING[int.from_bytes(payload[:4], "big")]
            return _decode_method_arguments(method_type(), payload[4:])
    except (struct.error, ValueError, LookupError):
        return None
    return None


def _decode_method_arguments(method: Any, data: bytes) -> base.Frame:
    """Fill an empty ``method`` and return it, like pamqp.base.Frame.unmarshal, but with any bytes in its texts."""
    bits = 0
    for argument in method.attributes():
        kind = method.amqp_type(argument)
        if bits and (kind != "bit" or bits == 8):  # noqa: PLR2004 - bits in an octet
            data = data[1:]
            bits = 0
        if kind == "shortstr":
            size = data[0] + 1
            value: Any = data[1:size].decode(errors="backslashreplace")
        else:
            size, value = decode.by_type(data, kind, bits)
            bits += kind == "bit"
        setattr(method, argument, value)
        data = data[size:]
    return method  # type: ignore[no-any-return]  # pamqp's methods have no common constructor


def _decode_header(payload: bytes) -> ContentHeader:
    """Return a content header with the fields that can be decoded. Raises struct.error for an incomplete fixed part."""
    header = ContentHeader()
    undecodable: Undecodable = {}
    headers: dict[str, Any] = {}
    _, _, header.body_size, flags = FIXED_PART.unpack_from(payload)
    for name, raw in _split_properties(flags, payload[FIXED_PART.size :]):
        if name == "headers":
            headers = _decode_table(raw, undecodable)
        else:
            _decode_into(header.properties, name, raw, undecodable)
    if undecodable:
        headers[UNDECODABLE_HEADER] = describe(undecodable)
    header.properties.headers = headers
    return header


def _split_properties(flags: int, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the raw bytes of each property, as far as the data goes."""
    at = 0
    for name in commands.Basic.Properties.attributes():
        if not flags & commands.Basic.Properties.flags[name]:
            continue
        size = _property_size(commands.Basic.Properties.amqp_type(name), data[at:])
        yield name, data[at : at + size]
        at += size


def _property_size(kind: str, data: bytes) -> int:
    match kind:
        case "octet":
            return 1
        case "timestamp":
            return 8
        case "table":
            return 4 + int.from_bytes(data[:4], "big")
        case _:  # a short string
            return 1 + int.from_bytes(data[:1], "big")


def _decode_into(properties: commands.Basic.Properties, name: str, raw: bytes, undecodable: Undecodable) -> None:
    try:
        value = decode.by_type(raw, properties.amqp_type(name))[1]
        setattr(properties, name, value)
    except Exception as error:  # noqa: BLE001 - whatever it is, this field is left out
        undecodable[SPECIFIED_NAMES.get(name, name)] = (raw, _reason(error))
        return
    if name in _unusable_properties(properties):
        setattr(properties, name, None)
        undecodable[name] = (raw, "not a value of this property")


def _unusable_properties(properties: commands.Basic.Properties) -> list[str]:
    """Return the names of decoded properties of which aio-pika cannot build a message."""
    unusable = []
    if properties.delivery_mode not in VALID_DELIVERY_MODES:
        unusable.append("delivery_mode")
    if properties.expiration is not None and not _is_number(properties.expiration):
        unusable.append("expiration")
    return unusable


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _decode_table(raw: bytes, undecodable: Undecodable) -> dict[str, Any]:
    """Return the headers that can be decoded."""
    headers: dict[str, Any] = {}
    at = 4
    while at < len(raw):
        name_end = at + 1 + raw[at]
        name = raw[at + 1 : name_end].decode(errors="backslashreplace")
        value_end = _value_end(raw, name_end)
        if value_end is None:
            undecodable[name] = (raw[name_end:], "unknown field type")
            return headers
        value = raw[name_end:value_end]
        if len(value) > MAX_PAMQP_BYTES and value[0] in NESTING:
            undecodable[name] = (value, "too large to decode")
            at = value_end
            continue
        try:
            raw[at + 1 : name_end].decode()
            headers[name] = decode.embedded_value(value)[1]
        except Exception as error:  # noqa: BLE001 - whatever it is, this header is left out
            undecodable[name] = (value, _reason(error))
        at = value_end
    return headers


def _value_end(raw: bytes, at: int) -> int | None:
    """Return the position behind the field value at ``at``; None for an unknown type or beyond the data."""
    kind = raw[at] if at < len(raw) else -1
    if kind in LENGTH_PREFIXED:
        end = at + 5 + int.from_bytes(raw[at + 1 : at + 5], "big")
    elif kind in FIXED_SIZES:
        end = at + 1 + FIXED_SIZES[kind]
    else:
        return None
    return end if end <= len(raw) else None


def describe(undecodable: Undecodable) -> str:
    """Return name, reason and bytes in hexadecimal digits of each field, with an end to its length."""
    return "; ".join(f"{name} ({reason}): {_hex(raw)}" for name, (raw, reason) in undecodable.items())[
        :MAX_DESCRIPTION_CHARS
    ]


def _hex(raw: bytes) -> str:
    return raw.hex() if len(raw) <= MAX_FIELD_BYTES else f"{raw[:MAX_FIELD_BYTES].hex()}... of {len(raw)} bytes"


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return f"{type(error).__name__}, {error}"[:80]
