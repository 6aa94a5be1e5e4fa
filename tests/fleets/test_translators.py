"""Message translators: round trips, and tolerance of any bytes from a partner."""

import json
from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.fleets import AskFleet
from prebook.fleets.domain.fleet import FLEETS, slot_of
from prebook.fleets.domain.message_translators import (
    MAX_MINUTES_AWAY,
    TRANSLATORS,
    PartnerAccepted,
    PartnerDeclined,
    UnreadableReply,
)
from prebook.fleets.partners.registry import PARTNERS
from prebook.fleets.partners.simulation import QUARTER_HOUR_S, WireFormat
from prebook.matching import handlers as matching
from tests.fleets.requests import fleet_request, fleet_requests

WIRE_FORMATS: dict[str, WireFormat] = {profile.name: wire_format for profile, wire_format in PARTNERS}


def test_matching_sends_requests_to_every_fleet() -> None:
    assert set(matching.FLEETS) == set(FLEETS) == set(TRANSLATORS) == set(WIRE_FORMATS)


def test_the_three_wire_formats_are_distinct() -> None:
    raw_reply = {name: translator.encode_request(fleet_request(name)) for name, translator in TRANSLATORS.items()}
    for name, wire_format in WIRE_FORMATS.items():
        for other in set(raw_reply) - {name}:
            with pytest.raises((ValueError, LookupError, TypeError)):
                wire_format.decode_request(raw_reply[other])


@given(fleet_requests())
def test_a_partner_decodes_the_requested_trip(request: AskFleet) -> None:
    trip = WIRE_FORMATS[request.fleet].decode_request(TRANSLATORS[request.fleet].encode_request(request))
    # Half a unit of rounding here, and a little for the rounding of the wire format.
    assert abs(trip.lat - request.pickup.lat * 1e5) <= 0.61
    assert abs(trip.lon - request.pickup.lon * 1e5) <= 0.61
    assert trip.quarter * QUARTER_HOUR_S == slot_of(request.pickup_at).timestamp()
    assert trip.seats == request.passengers


@given(fleet_requests())
def test_the_time_zone_of_a_pickup_is_not_part_of_the_ride(request: AskFleet) -> None:
    utc = msgspec.structs.replace(request, pickup_at=request.pickup_at.astimezone(UTC))
    partner = WIRE_FORMATS[request.fleet]
    encode = TRANSLATORS[request.fleet].encode_request
    assert partner.decode_request(encode(request)) == partner.decode_request(encode(utc))
    assert slot_of(request.pickup_at) == slot_of(utc.pickup_at)


@pytest.mark.parametrize("name", FLEETS)
@given(minutes=st.integers(0, MAX_MINUTES_AWAY))
def test_an_offer_keeps_its_minutes(name: str, minutes: int) -> None:
    assert TRANSLATORS[name].read_reply(WIRE_FORMATS[name].encode_offer(minutes)) == PartnerAccepted(minutes)


@pytest.mark.parametrize("name", FLEETS)
def test_refusals_and_bad_requests_are_refusals(name: str) -> None:
    for raw_reply in (WIRE_FORMATS[name].decline, WIRE_FORMATS[name].bad_request):
        reply = TRANSLATORS[name].read_reply(raw_reply)
        assert isinstance(reply, PartnerDeclined)
        assert reply.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "eta_s", "x"]), inner, max_size=3)
        | st.tuples(st.sampled_from(["yes", "no", "OK"]), inner)
    ),
    max_leaves=6,
)
ARBITRARY_REPLIES = st.one_of(
    st.binary(max_size=300),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.tuples(st.sampled_from(["ACK", "NAK", ""]), st.text(max_size=80)).map(lambda pair: ";".join(pair).encode()),
    st.fixed_dictionaries({"status": st.just("OK"), "eta_s": JSON}).map(lambda value: json.dumps(value).encode()),
)


@pytest.mark.parametrize("name", FLEETS)
@given(raw_reply=ARBITRARY_REPLIES)
def test_any_bytes_become_a_bounded_reply(name: str, raw_reply: bytes) -> None:
    match TRANSLATORS[name].read_reply(raw_reply):
        case PartnerAccepted(minutes_away=minutes):
            assert 0 <= minutes <= MAX_MINUTES_AWAY
        case PartnerDeclined(reason=text) | UnreadableReply(excerpt=text):
            assert len(text) <= 200
            assert text.isprintable()


@pytest.mark.parametrize(
    ("name", "raw_reply"),
    [
        ("ada", b""),
        ("ada", b'{"status": "OK"}'),
        ("ada", b'{"status": "OK", "eta_s": Infinity}'),
        ("ada", b'{"status": "OK", "eta_s": -600}'),
        ("ada", b"[" * 100_000),
        ("ada", b'{"status": "OK", "eta_s": ' + b"9" * 5000 + b"}"),
        ("borealis", b"ACK"),
        ("borealis", b"ACK;soon"),
        ("borealis", "ACK;\N{SNOWMAN}".encode()),
        ("borealis", b"ACK;99999"),
        ("cargo", b'["yes"]'),
        ("cargo", b'["perhaps", 12]'),
        ("cargo", b'[["yes"], 12]'),
        ("cargo", b'["yes", NaN]'),
        ("cargo", b'["no", {"a": 1}]'),
    ],
)
def test_an_invalid_reply_is_unreadable(name: str, raw_reply: bytes) -> None:
    assert isinstance(TRANSLATORS[name].read_reply(raw_reply), UnreadableReply)


def test_a_truncated_reply_is_unreadable() -> None:
    for profile, wire_format in PARTNERS:
        raw_reply = wire_format.encode_offer(profile.min_minutes_away)
        assert isinstance(TRANSLATORS[profile.name].read_reply(raw_reply[: len(raw_reply) // 2]), UnreadableReply)
