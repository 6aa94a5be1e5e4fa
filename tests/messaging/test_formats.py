"""MessagePack beside JSON: chosen by the sender, told by the content type, and kept on every way."""

import random
from base64 import b64encode
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prebook.contracts.message import Unavailable
from prebook.messaging.body_codec import BODY_TYPES, MSGPACK, VERSION_TYPES, decode_body, encode_body
from prebook.messaging.body_writer import BodyWriter, UnknownForm, parse_formats
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.envelope import JSON
from prebook.messaging.errors import Malformed
from prebook.messaging.message_document import MessageDocument
from prebook.postgres.message_column import from_column, to_column, without_expiry
from tests.messaging.examples import NOW, request
from tests.rabbit.example_bodies import example_of

WRITER = BodyWriter(content_types={"notify_rider": MSGPACK})
WIRE = encode(WRITER.write(request()))


def test_a_writer_encodes_the_messages_of_a_flow_in_its_format() -> None:
    assert WIRE.headers["content-type"] == MSGPACK == "application/vnd.msgpack"
    assert msgspec.msgpack.decode(WIRE.body) == msgspec.json.decode(encode(request()).body)
    assert len(WIRE.body) < len(encode(request()).body)
    reply = request().reply_with(Unavailable(reason="refused"), source="notification", at=NOW)
    assert encode(WRITER.write(reply)).headers["content-type"] == MSGPACK
    assert "content-type" not in encode(request()).headers


def test_a_message_keeps_content_type_and_bytes_in_every_further_delivery_and_in_the_database() -> None:
    fields = {**msgspec.msgpack.decode(WIRE.body), "added": "later"}
    received = decode(WireMessage(WIRE.headers, msgspec.msgpack.encode(fields)))
    stored = from_column(without_expiry(to_column(received)))
    again = encode(replace(stored.next_attempt(), extra={"prebook-x-cause": "attempts_exhausted"}))

    assert stored.body == received.body == request().body
    assert (again.body, again.headers["content-type"]) == (msgspec.msgpack.encode(fields), MSGPACK)


@pytest.mark.parametrize("body", [b"", b"text", "é".encode(), b"\xff\x00", WIRE.body])
def test_a_document_holds_any_body(body: bytes) -> None:
    message = WireMessage({"a": "b"}, body)
    document = msgspec.json.decode(msgspec.json.encode(MessageDocument.of(message)), type=MessageDocument)

    assert document.to_message() == message


@pytest.mark.parametrize(
    "text", ['{"headers":{},"body":"","base64":"%"}', '{"headers":{},"body":"","base64":"a"}', '{"headers":{}}']
)
def test_a_row_without_a_body_or_with_malformed_base64_is_malformed(text: str) -> None:
    with pytest.raises(Malformed) as failure:
        from_column(text)

    assert failure.value.cause == "bad_row"


@pytest.mark.parametrize(
    ("content_type", "body", "cause"),
    [
        ("application/cbor", WIRE.body, "unknown_content_type"),
        ("text/plain", encode(request()).body, "unknown_content_type"),
        ("\x1b[31m" * 50, b"{}", "unknown_content_type"),
        (MSGPACK, b"\xc1", "bad_msgpack"),
        (MSGPACK, WIRE.body[:-1], "bad_msgpack"),
        (MSGPACK, b"\x91" * 100_000, "wrong_schema"),
        (MSGPACK, b"\x80", "wrong_schema"),
        (MSGPACK, b"\x81\xa1a" + b"\x91" * 100_000, "bad_msgpack"),
        (MSGPACK, encode(request()).body, "wrong_schema"),
        (JSON, WIRE.body, "bad_json"),
    ],
)
def test_a_body_that_is_not_of_its_content_type_is_malformed(content_type: str, body: bytes, cause: str) -> None:
    with pytest.raises(Malformed) as failure:
        decode(WireMessage({**WIRE.headers, "content-type": content_type}, body))

    assert failure.value.cause == cause
    assert "\x1b" not in str(failure.value)


@pytest.mark.parametrize("content_type", ["", "application/json", "Application/JSON; charset=utf-8"])
def test_json_may_have_parameters_or_no_content_type(content_type: str) -> None:
    headers = {**WIRE.headers, "content-type": content_type}

    assert decode(WireMessage(headers, encode(request()).body)).body == request().body


@given(name=st.sampled_from(sorted(BODY_TYPES)), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_both_formats_hold_the_same_body_and_no_body_is_valid_in_both(name: str, seed: int) -> None:
    """A message whose content type is changed on its way becomes unreadable, and never another message."""
    old = example_of(VERSION_TYPES[name], random.Random(seed))
    packed = msgspec.msgpack.encode(old)

    assert decode_body(name, packed, MSGPACK) == decode_body(name, msgspec.json.encode(old))
    for data, other in ((packed, JSON), (msgspec.json.encode(old), MSGPACK)):
        with pytest.raises(Malformed):
            decode_body(name, data, other)


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_decoding_raises_nothing_but_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_body("prebook.find_driver.v3", data, MSGPACK)


def test_a_version_is_written_in_either_format() -> None:
    body = example_of(BODY_TYPES["prebook.find_driver.v3"], random.Random(1))
    encoded = encode_body(body, 1, MSGPACK)

    assert (encoded.type, encoded.content_type) == ("prebook.find_driver.v1", MSGPACK)
    assert decode_body(encoded.type, encoded.data, MSGPACK)


def test_formats_are_parsed_by_the_names_of_flows_and_events() -> None:
    assert parse_formats(("quote_fare=msgpack", "booking_ended=json")) == {"quote_fare": MSGPACK, "booking_ended": JSON}


@pytest.mark.parametrize("entry", ["quote_fare=cbor", "quote_fare", "quotes=msgpack"])
def test_an_unknown_name_or_format_is_refused(entry: str) -> None:
    with pytest.raises(UnknownForm, match=entry.partition("=")[0]):
        parse_formats((entry,))


def test_base64_in_a_row_is_standard() -> None:
    document = msgspec.json.decode(to_column(decode(WIRE)))

    assert (document["body"], document["base64"]) == ("", b64encode(WIRE.body).decode())
