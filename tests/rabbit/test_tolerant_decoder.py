"""Frames that pamqp cannot decode: their readable fields are kept, and the others are described with their bytes."""

import struct
from collections.abc import Mapping
from typing import Any

import pytest
from aio_pika.message import IncomingMessage
from aiormq.abc import DeliveredMessage
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp import decode as pamqp_decode
from pamqp.exceptions import UnmarshalingException
from pamqp.header import ContentHeader

from prebook.messaging.codec import decode, encode
from prebook.messaging.errors import Malformed
from prebook.messaging.headers import UNDECODABLE_HEADER
from prebook.rabbit import tolerant_decoder
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.tolerant_decoder import MAX_DESCRIPTION_CHARS
from tests.messaging.examples import request
from tests.rabbit import raw_amqp
from tests.rabbit.raw_amqp import content_header, method, short, text, text_table
from tests.rabbit.undecodable_messages import UNDECODABLE_MESSAGES

tolerant_decoder.install()
WIRE = encode(request("odd"))
CASES: dict[str, tuple[str, Mapping[str, bytes]]] = {
    **{name: (field, build(WIRE.headers)) for name, (field, build) in UNDECODABLE_MESSAGES.items()},
    "delivery mode that does not exist": (
        "delivery_mode",
        {"headers": text_table(WIRE.headers), "delivery_mode": b"\x03"},
    ),
    "expiration that is no number": ("expiration", {"headers": text_table(WIRE.headers), "expiration": short("soon")}),
}


def receive(properties: Mapping[str, bytes]) -> IncomingMessage:
    """Return the message that aio-pika makes of a delivery with these properties."""
    data = raw_amqp.frame(2, 7, content_header(WIRE.body, properties))
    size, channel, header = frame.unmarshal(data)
    assert (size, channel) == (len(data), 7)
    assert isinstance(header, ContentHeader)
    assert header.body_size == len(WIRE.body)
    channel_of_delivery: Any = None
    delivery = commands.Basic.Deliver("tag", 1, False, "x", "k")
    return IncomingMessage(DeliveredMessage(delivery, header, WIRE.body, channel_of_delivery))


@pytest.mark.parametrize("case", CASES)
def test_an_undecodable_field_is_described_with_its_bytes_and_all_others_are_kept(case: str) -> None:
    name, properties = CASES[case]
    wire = from_amqp(receive(properties))
    assert f"{name} (" in wire.headers[UNDECODABLE_HEADER]
    assert WIRE.headers.items() <= wire.headers.items()
    assert set(wire.headers) - set(WIRE.headers) <= {UNDECODABLE_HEADER, "last"}
    with pytest.raises(Malformed) as refused:
        decode(wire)
    assert refused.value.cause == "undecodable"


def test_the_description_has_the_bytes_in_hexadecimal_digits() -> None:
    wire = from_amqp(receive({"headers": text_table({}), "type": short(b"\xff\xfe")}))
    assert wire.headers == {UNDECODABLE_HEADER: "type (not UTF-8): 02fffe"}


def test_the_description_has_a_maximum_length() -> None:
    entries = [(b"\xff" + bytes([65 + at % 26, 65 + at // 26]), text("x" * 200)) for at in range(400)]
    description = from_amqp(receive({"headers": raw_amqp.table(entries)})).headers[UNDECODABLE_HEADER]
    assert len(description) == MAX_DESCRIPTION_CHARS


LARGE_TABLES = {
    "many headers": text_table(WIRE.headers, *((f"{number:x}", b"V") for number in range(20_000))),
    "one large header": text_table(WIRE.headers, ("pad", text("p" * 100_000))),
    "a large array": text_table(WIRE.headers, ("array", raw_amqp.array(*[b"V"] * 100_000))),
    "a large table": text_table(WIRE.headers, ("table", b"F" + raw_amqp.table([(b"", b"V")] * 50_000))),
}


@pytest.mark.parametrize("case", LARGE_TABLES)
def test_large_headers_are_decoded_without_pamqp(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The effort of pamqp grows with the square of the number of fields: 2 s of a service's time for one message."""
    decoded_bytes = 0

    def count(value: bytes) -> tuple[int, Any]:
        nonlocal decoded_bytes
        decoded_bytes += len(value)
        return embedded_value(value)

    embedded_value = pamqp_decode.embedded_value
    monkeypatch.setattr(pamqp_decode, "embedded_value", count)
    wire = from_amqp(receive({"headers": LARGE_TABLES[case]}))
    assert WIRE.headers.items() <= wire.headers.items()
    assert decoded_bytes <= len(LARGE_TABLES[case])
    assert (UNDECODABLE_HEADER in wire.headers) == (case in {"a large array", "a large table"})


@given(st.binary(max_size=200), st.integers(0, 0xFFFE).map(lambda flags: flags & ~3))
def test_no_bytes_in_the_fields_of_a_content_header_raise(fields: bytes, flags: int) -> None:
    payload = struct.pack(">HHQH", 60, 0, 5, flags) + fields
    header = frame.unmarshal(raw_amqp.frame(2, 1, payload))[2]
    assert isinstance(header, ContentHeader)
    assert header.body_size == 5


@pytest.mark.parametrize("key", [b"\xff\xfe", b"caf\xc3"])
def test_a_routing_key_that_is_not_utf_8_is_escaped(key: bytes) -> None:
    arguments = short("tag") + struct.pack(">Q", 9) + b"\x01" + short("events") + short(key)
    delivery = frame.unmarshal(method(3, 60, 60, arguments))[2]
    assert isinstance(delivery, commands.Basic.Deliver)
    assert (delivery.consumer_tag, delivery.delivery_tag, delivery.redelivered) == ("tag", 9, True)
    assert (delivery.exchange, delivery.routing_key) == ("events", key.decode(errors="backslashreplace"))


def test_a_reply_text_that_was_cut_in_a_character_is_read() -> None:
    arguments = struct.pack(">H", 404) + short(b"no exchange 'caf" + b"\xc3") + struct.pack(">HH", 60, 40)
    close = frame.unmarshal(method(1, 20, 40, arguments))[2]
    assert isinstance(close, commands.Channel.Close)
    assert (close.reply_code, close.reply_text) == (404, "no exchange 'caf\\xc3")
    assert (close.class_id, close.method_id) == (60, 40)


@pytest.mark.parametrize(
    "data",
    [
        raw_amqp.frame(2, 1, b"\x00" * 5),
        raw_amqp.frame(2, 1, content_header(b"", {"type": short(b"\xff")}))[:-1] + b"\x00",
        method(1, 60, 61),
        method(1, 60, 60, b"\x05ab"),
        raw_amqp.frame(9, 1, b"x"),
    ],
)
def test_a_frame_whose_limits_or_type_are_wrong_still_raises(data: bytes) -> None:
    with pytest.raises(UnmarshalingException):
        frame.unmarshal(data)
