import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.events import BookingEnded
from prebook.contracts.message import Message, Unavailable
from prebook.flows import BOOKING, EVENT_TYPE_BY_BODY, FLEETS, FLOWS, PRICING, QUOTE_FARE, EventType, Flow
from prebook.messaging.body_codec import BODY_TYPES
from prebook.messaging.codec import MAX_BODY_BYTES, WireMessage, decode, encode, register
from prebook.messaging.envelope import MessageKind, message_id, request_key
from prebook.messaging.errors import Malformed
from prebook.patterns.trace import trace_id
from prebook.postgres.message_column import from_column, to_column
from tests.messaging.additional_fields import add_fields
from tests.messaging.examples import NOW, request

WIRE = encode(request())


def test_an_envelope_survives_encoding_and_decoding() -> None:
    envelope = replace(
        request(), reply_to="booking", attempt=3, extra={"prebook-x-routing-key": "request.notify_rider"}
    )

    assert decode(encode(envelope)) == envelope


def test_a_synthetic_reply_survives_encoding_and_decoding() -> None:
    reply = request().reply_with(Unavailable(reason="deadline"), source="notification", at=NOW)

    assert decode(encode(reply)) == reply
    assert reply.id == "b1.notify_rider.confirmed.reply"


def test_headers_follow_cloud_events() -> None:
    headers = WIRE.headers

    assert headers["ce-specversion"] == "1.0"
    assert headers["ce-type"] == "prebook.notify_rider.v1"
    assert headers["ce-source"] == "/prebook/booking"
    assert headers["ce-partitionkey"] == headers["ce-subject"] == "b1"


@pytest.mark.parametrize(
    ("headers", "cause"),
    [
        ({"ce-type": "prebook.notify_rider.v2"}, "unknown_type"),
        ({"ce-type": ""}, "missing_header"),
        ({"ce-type": "prebook.fare_quoted.v1"}, "wrong_schema"),
        ({"ce-id": "a b"}, "bad_header"),
        ({"ce-subject": "x" * 300}, "bad_header"),
        ({"ce-time": "yesterday"}, "bad_header"),
        ({"ce-time": "0001-01-01T00:00:00+14:00"}, "bad_header"),
        ({"prebook-kind": "rumour"}, "bad_header"),
        ({"prebook-flow": "nonsense"}, "unexpected_type"),
        ({"prebook-kind": "reply"}, "unexpected_type"),
        ({"prebook-plan": "quote_fare=pigeon"}, "bad_header"),
        ({"prebook-plan": "all=one_way"}, "bad_header"),
        ({"prebook-plan": WIRE.headers["prebook-plan"] + ",a=b" * 2000}, "bad_header"),
        ({"prebook-attempt": "-1"}, "bad_header"),
        ({"prebook-attempt": "9" * 5000}, "bad_header"),
        ({"prebook-expires-at": "never"}, "bad_header"),
        ({"prebook-expires-at": "9999-12-31T23:59:59-14:00"}, "bad_header"),
        ({"ce-id": "b2.notify_rider.confirmed"}, "foreign_id"),
        ({"ce-id": "b1.quote_fare.confirmed"}, "foreign_id"),
        ({"ce-id": "b1.notify_riders"}, "foreign_id"),
        ({"ce-id": "b1"}, "foreign_id"),
        ({"ce-subject": "b1.notify_rider"}, "foreign_id"),
    ],
)
def test_an_invalid_header_is_malformed_with_its_cause(headers: dict[str, str], cause: str) -> None:
    with pytest.raises(Malformed) as failure:
        decode(WireMessage({**WIRE.headers, **headers}, WIRE.body))

    assert failure.value.cause == cause


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (WIRE.body.replace(b"rosa", b"ros\xff"), "bad_json"),
        (WIRE.body.replace(b"rosa", b"\xed\xa0\x80"), "bad_json"),
        (b"[" * 100_000, "wrong_schema"),
        (b"{}", "wrong_schema"),
        (b'{"rider_id":"r","notice":"confirmed","text":"t","extra":"\xff"}', "bad_json"),
        (b'{"rider_id":"r","notice":"confirmed","text":"t","\xed\xa0\x80":1}', "bad_json"),
        (
            b'{"rider_id":"r","notice":"confirmed","text":"t","extra":' + b"[" * 60_000 + b"]" * 60_000 + b"}",
            "bad_json",
        ),
        (b'{"rider_id":"r","notice":"shouted","text":"t"}', "wrong_schema"),
        (b" " * (MAX_BODY_BYTES + 1), "too_large"),
    ],
)
def test_an_invalid_body_is_malformed_with_its_cause(body: bytes, cause: str) -> None:
    with pytest.raises(Malformed) as failure:
        decode(WireMessage(WIRE.headers, body))

    assert failure.value.cause == cause


@pytest.mark.parametrize(
    "body",
    [
        add_fields(WIRE.body),
        b' {"text":"t", "extra":{"rider_id":null},\t"rider_id":"r","notice":"confirmed"}\n',
        b'{"rider_id":"r","notice":"confirmed","text":"t","\\u0000":"\\ud83d\\ude97"}',
        b'{"rider_id":"r","notice":"confirmed","text":"t","":1,"__class__":2}',
    ],
)
def test_a_body_with_unknown_fields_is_stored_and_sent_again_with_the_bytes_that_it_was_received_with(
    body: bytes,
) -> None:
    received = decode(WireMessage(WIRE.headers, body))
    stored = from_column(to_column(received))
    later = stored.next_attempt().with_reply_to("booking").expiring_by(NOW)
    again = encode(replace(later, extra={"prebook-x-cause": "attempts_exhausted"}))

    assert (again.body, again.headers["ce-type"]) == (body, WIRE.headers["ce-type"])
    assert (again.headers["prebook-attempt"], later.body) == ("2", received.body)


def test_another_body_is_encoded_anew() -> None:
    received = decode(WireMessage(WIRE.headers, add_fields(WIRE.body)))
    refused = Unavailable(reason="refused")

    assert encode(received.with_body(refused)).body == b'{"reason":"refused"}'
    assert encode(received.reply_with(refused, source="notification", at=NOW)).body == b'{"reason":"refused"}'


@pytest.mark.parametrize("traceparent", ["", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "nonsense"])
def test_a_message_without_a_valid_trace_starts_one(traceparent: str) -> None:
    decoded = decode(WireMessage({**WIRE.headers, "traceparent": traceparent}, WIRE.body))

    assert trace_id(decoded.trace.traceparent)


@pytest.mark.parametrize("reply_id", ["b1.notify_rider", "b2.notify_rider.reply", "b1.quote_fare.reply", "b1.reply"])
def test_a_reply_has_an_id_that_is_derived_from_its_request(reply_id: str) -> None:
    reply = request().reply_with(Unavailable(reason="deadline"), source="notification", at=NOW)

    with pytest.raises(Malformed) as failure:
        decode(encode(replace(reply, id=reply_id)))

    assert failure.value.cause == "foreign_id"


@given(st.dictionaries(st.sampled_from(sorted(WIRE.headers)), st.text(max_size=40)), st.binary(max_size=200))
def test_decoding_raises_nothing_but_malformed(headers: dict[str, str], body: bytes) -> None:
    for wire in (
        WireMessage({**WIRE.headers, **headers}, WIRE.body),
        WireMessage(WIRE.headers, body),
        WireMessage(headers, body),
        WireMessage(WIRE.headers, WIRE.body.replace(b"rosa", body)),
    ):
        with contextlib.suppress(Malformed):
            decode(wire)


@pytest.mark.parametrize("key", ["", "ada", "confirmed.2"])
def test_a_reply_has_the_request_key_of_its_request(key: str) -> None:
    request_with_key: Any = replace(request(), id=message_id("b1", "notify_rider", key))

    assert request_key(request_with_key) == key
    assert (
        request_key(request_with_key.reply_with(Unavailable(reason="deadline"), source="notification", at=NOW)) == key
    )
    assert request_with_key.kind is MessageKind.REQUEST


class Quote(Message, frozen=True):
    """Message that no flow has."""


class FareQuoted(Message, frozen=True):
    """Message with the name of another one."""


@pytest.mark.parametrize(
    "entry",
    [
        Flow("quote_fare", BOOKING, PRICING, Quote, ()),
        EventType("booking_ended", BOOKING, Quote),
        Flow("quote_another_fare", BOOKING, PRICING, Quote, (FareQuoted,)),
        replace(QUOTE_FARE, caller=FLEETS),
        EventType("booking_finished", FLEETS, BookingEnded),
    ],
)
def test_a_name_that_is_taken_is_refused_and_leaves_the_catalogue_as_it_was(
    entry: Flow[Any, Any] | EventType[Any],
) -> None:
    before = (dict(FLOWS), dict(EVENT_TYPE_BY_BODY), dict(BODY_TYPES))
    with pytest.raises(ValueError, match=r"'quote_fare'|'booking_ended'|'booking_finished'|'prebook\.fare_quoted\.v1'"):
        register(entry)

    assert before == (FLOWS, EVENT_TYPE_BY_BODY, BODY_TYPES)
