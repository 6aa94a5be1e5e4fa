"""Frames encoded by hand are readable by pamqp and equal to those that aio-pika sends."""

from datetime import UTC, datetime, timedelta

import pytest
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from prebook.lab.bench.aio_pika_message import to_aio_pika
from prebook.messaging.codec import WireMessage
from prebook.rabbit.amqp_publisher.frame_encoder import encode_publish, message_id_property
from prebook.rabbit.errors import AmqpLimitExceeded

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
HEADERS = {
    "ce-id": "bk_1.quote_fare",
    "ce-subject": "bk_1",
    "ce-type": "prebook.quote_fare.v1",
    "prebook-reply-to": "booking",
    "prebook-x-error": "größer als erlaubt",
}
FRAME_MAX = 4096


def frames(wire: WireMessage, expires_at: datetime | None = None) -> list[object]:
    data = encode_publish(
        "prebook.requests", "quote_fare", wire, user="u", now=NOW, expires_at=expires_at, frame_max=FRAME_MAX
    )
    decoded: list[object] = []
    while data:
        size, channel, value = frame.unmarshal(data)
        assert channel == 1
        assert size <= FRAME_MAX
        decoded.append(value)
        data = data[size:]
    return decoded


def test_a_publish_is_mandatory_and_has_exchange_and_routing_key() -> None:
    method = frames(WireMessage(HEADERS, b"{}"))[0]
    assert isinstance(method, commands.Basic.Publish)
    assert (method.exchange, method.routing_key, method.mandatory) == ("prebook.requests", "quote_fare", True)


@pytest.mark.parametrize("headers", [HEADERS, {"ce-id": "alone"}, {}])
def test_the_properties_equal_those_of_aio_pika(headers: dict[str, str]) -> None:
    ours = frames(WireMessage(headers, b"{}"))[1]
    assert isinstance(ours, ContentHeader)
    aio_pika_properties = to_aio_pika(WireMessage(headers, b"{}"), user="u").properties
    for name in (*commands.Basic.Properties.attributes(),):
        if name != "timestamp":
            assert (getattr(ours.properties, name) or None) == (getattr(aio_pika_properties, name) or None), name
    assert ours.properties.timestamp == NOW


@pytest.mark.parametrize(
    ("time_left", "expiration"),
    [(timedelta(seconds=1.5), "1500"), (timedelta(seconds=-3), "1"), (timedelta(days=3650), "4294967295")],
)
def test_the_expiration_is_the_remaining_time_to_live(time_left: timedelta, expiration: str) -> None:
    header = frames(WireMessage(HEADERS, b"{}"), NOW + time_left)[1]
    assert isinstance(header, ContentHeader)
    assert header.properties.expiration == expiration


@pytest.mark.parametrize("size", [0, 1, FRAME_MAX - 8, FRAME_MAX - 7, 3 * FRAME_MAX])
def test_a_body_of_any_size_is_split_without_loss(size: int) -> None:
    _, header, *bodies = frames(WireMessage(HEADERS, bytes(range(256)) * (size // 256) + b"x" * (size % 256)))
    assert isinstance(header, ContentHeader)
    assert header.body_size == size == sum(len(part.value) for part in bodies if isinstance(part, ContentBody))


@pytest.mark.parametrize("headers", [{"x" * 256: ""}, {"prebook-x-error": "x" * FRAME_MAX}])
def test_a_message_beyond_a_protocol_limit_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(AmqpLimitExceeded):
        frames(WireMessage(headers, b"{}"))


@pytest.mark.parametrize(("name", "attribute"), [("ce-id", "message_id"), ("ce-type", "message_type")])
def test_a_property_that_is_too_long_is_left_out_and_its_header_kept(name: str, attribute: str) -> None:
    """The confirm of a message is matched with its property, so both leave a long message id out."""
    headers = {name: "ü" * 128}
    header = frames(WireMessage(headers, b"{}"))[1]
    assert isinstance(header, ContentHeader)
    assert not getattr(header.properties, attribute)
    assert header.properties.headers == headers
    assert message_id_property({"ce-id": "ü" * 128}) == ""
    assert message_id_property({"ce-id": "ü" * 127}) == "ü" * 127
