"""Versions of messages: their bytes, the steps between them, and what a sender writes and a receiver reads."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prebook.contracts.events import BookingEnded, BookingEnding
from prebook.contracts.matching import FindDriver
from prebook.contracts.message import Message
from prebook.contracts.pricing import QuoteFare
from prebook.contracts.ride import Money, Place, Stop, VehicleClass
from prebook.contracts.versions import STEPS, downcast, upcast, versions_of
from prebook.messaging.body_codec import BODY_TYPES, VERSION_TYPES, ce_type, ce_types, decode_body, encode_body
from prebook.messaging.body_writer import BodyWriter, UnknownForm, parse_versions
from prebook.messaging.codec import WireMessage, decode, encode
from prebook.messaging.errors import Malformed
from tests.messaging.examples import NOW, request
from tests.rabbit.example_bodies import example_of

VERSIONED = tuple(STEPS)
FIND_DRIVER = FindDriver(
    pickup=Stop(place=Place(lat=52.5, lon=13.4)),
    pickup_at=datetime(2031, 5, 1, 12, tzinfo=UTC),
    ride_s=1260,
    vehicle_class=VehicleClass.XL,
    passengers=5,
)
BOOKING_ENDED = BookingEnded(booking_id="b1", ending=BookingEnding.EXPIRED, reason="no driver")
GOLDEN: Mapping[str, tuple[Message, bytes]] = {
    "prebook.find_driver.v1": (
        FIND_DRIVER,
        (
            b'{"pickup":{"lat":52.5,"lon":13.4},"pickup_at":"2031-05-01T12:00:00Z","ride_minutes":21,'
            b'"vehicle_class":"xl","passengers":5}'
        ),
    ),
    "prebook.find_driver.v2": (
        FIND_DRIVER,
        (
            b'{"pickup":{"place":{"lat":52.5,"lon":13.4},"label":""},"pickup_at":"2031-05-01T12:00:00Z",'
            b'"ride_minutes":21,"vehicle_class":"xl","passengers":5}'
        ),
    ),
    "prebook.find_driver.v3": (
        FIND_DRIVER,
        (
            b'{"pickup":{"place":{"lat":52.5,"lon":13.4},"label":""},"pickup_at":"2031-05-01T12:00:00Z","ride_s":1260,'
            b'"vehicle_class":"xl","passengers":5}'
        ),
    ),
    "prebook.booking_ended.v1": (BOOKING_ENDED, b'{"booking_id":"b1","ending":"expired","reason":"no driver"}'),
    "prebook.booking_ended.v2": (
        BOOKING_ENDED,
        b'{"booking_id":"b1","ending":"expired","reason":"no driver","fee_cents":0}',
    ),
    "prebook.booking_ended.v3": (
        BOOKING_ENDED,
        b'{"booking_id":"b1","ending":"expired","reason":"no driver","fee":{"cents":0,"currency":"EUR"}}',
    ),
}
"""Body, and the bytes of each of its versions: what is in archives and queues, and must be readable for ever."""


def test_every_version_of_a_message_with_several_has_its_bytes_here() -> None:
    assert GOLDEN.keys() == {name for body in VERSIONED for name in ce_types(body)}
    assert {len(versions_of(body)) for body in VERSIONED} == {3}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_version_is_written_and_read_with_these_bytes(name: str) -> None:
    body, data = GOLDEN[name]
    encoded = encode_body(body, int(name[-1]))

    assert (encoded.type, encoded.data) == (name, data)
    assert decode_body(name, data) == body


def test_the_newest_version_is_written_by_default() -> None:
    assert encode_body(FIND_DRIVER) == encode_body(FIND_DRIVER, 3)
    assert ce_type(QuoteFare) == "prebook.quote_fare.v1"


every_version = pytest.mark.parametrize(
    ("newest", "version"), [(body, number) for body in VERSIONED for number in range(1, len(versions_of(body)) + 1)]
)


@every_version
@given(seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_an_upcast_loses_nothing(newest: type[Message], version: int, seed: int) -> None:
    """Any body of an older version is the same again after it was upcast to the newest and downcast."""
    old = example_of(versions_of(newest)[version - 1], random.Random(seed))
    upcasted = upcast(old, newest)

    assert type(upcasted) is newest
    assert downcast(upcasted, version) == old


@every_version
@given(seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_an_encoded_upcast_is_valid(newest: type[Message], version: int, seed: int) -> None:
    """The step makes no value that the decoder of the next version refuses."""
    upcasted = upcast(example_of(versions_of(newest)[version - 1], random.Random(seed)), newest)
    encoded = encode_body(upcasted)

    assert decode_body(encoded.type, encoded.data) == upcasted


def test_a_downcast_that_cannot_say_what_the_body_says_is_refused() -> None:
    abroad = BookingEnded(
        booking_id="b1", ending=BookingEnding.CANCELLED, reason="late", fee=Money(cents=500, currency="USD")
    )
    with pytest.raises(ValueError, match="no other currency"):
        encode_body(abroad, 2)


@pytest.mark.parametrize("name", ["prebook.find_driver.v4", "prebook.find_driver.v0", "prebook.find_driver"])
def test_an_unknown_version_is_malformed_with_its_cause(name: str) -> None:
    with pytest.raises(Malformed) as failure:
        decode_body(name, GOLDEN["prebook.find_driver.v3"][1])

    assert failure.value.cause == "unknown_type"


def test_the_types_of_all_versions_name_the_class_of_the_newest() -> None:
    assert {BODY_TYPES[name] for name in ce_types(FindDriver)} == {FindDriver}
    assert [VERSION_TYPES[name] for name in ce_types(FindDriver)] == list(versions_of(FindDriver))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_message_keeps_its_version_in_every_further_delivery(version: int) -> None:
    writer = BodyWriter({FindDriver: version})
    wire = encode(writer.write(request(id="b1.find_driver", flow="find_driver", body=FIND_DRIVER)))
    received = decode(WireMessage(wire.headers, wire.body))
    again = encode(received.next_attempt())

    assert received.body == FIND_DRIVER
    assert (again.headers["ce-type"], again.body) == (f"prebook.find_driver.v{version}", wire.body)


def test_a_writer_leaves_other_messages_as_they_are() -> None:
    envelope = request(time=NOW)

    assert BodyWriter({FindDriver: 1}).write(envelope) is envelope


def test_versions_are_parsed_by_the_names_of_messages() -> None:
    assert parse_versions(("find_driver=1", "booking_ended=2")) == {FindDriver: 1, BookingEnded: 2}
    assert parse_versions(()) == {}


@pytest.mark.parametrize("entry", ["find_driver=4", "find_driver=0", "find_driver=x", "find_driver", "quote=1"])
def test_an_unknown_name_or_version_is_refused(entry: str) -> None:
    with pytest.raises(UnknownForm, match=entry.partition("=")[0]):
        parse_versions((entry,))
