"""Message translators: round trips, and tolerance of any bytes from a partner."""

import json
from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.contracts.fleets import AskFleet
from prebook.fleets.domain import fleet as known
from prebook.fleets.domain.fleet import slot_of
from prebook.fleets.domain.message_translators import (
    MAX_MINUTES_AWAY,
    MAX_REASON_CHARS,
    TRANSLATORS,
    PartnerAccepted,
    PartnerDeclined,
    PartnerReply,
    read_reply,
)
from prebook.fleets.partners.registry import PARTNERS
from prebook.fleets.partners.simulation import QUARTER_HOUR_S, WireFormat
from prebook.patterns.normalizer import ForeignMessage, UnreadableCause, UnreadableMessage
from prebook.testing.configuration import make_settings
from tests.fleets.requests import FLEETS, fleet_request, fleet_requests

WIRE_FORMATS: dict[str, WireFormat] = {profile.name: wire_format for profile, wire_format in PARTNERS}


def read(name: str, raw_reply: bytes) -> PartnerReply | UnreadableMessage:
    return read_reply(ForeignMessage(WIRE_FORMATS[name].media_type, raw_reply))


def test_every_fleet_has_a_translator_and_a_partner_and_three_are_asked_by_default() -> None:
    assert set(FLEETS) == set(known.FLEETS) == set(TRANSLATORS) == set(WIRE_FORMATS)
    assert make_settings().fleets == FLEETS[:3]


def test_translators_and_partners_agree_on_the_names_of_the_formats() -> None:
    names = {name: translator.reply_type for name, translator in TRANSLATORS.items()}
    assert names == {name: wire_format.media_type for name, wire_format in WIRE_FORMATS.items()}
    assert len(set(names.values())) == len(names)


def test_the_wire_formats_are_distinct() -> None:
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
    assert read(name, WIRE_FORMATS[name].encode_offer(minutes)) == PartnerAccepted(minutes)


@pytest.mark.parametrize("name", FLEETS)
def test_refusals_and_bad_requests_are_refusals(name: str) -> None:
    for raw_reply in (WIRE_FORMATS[name].decline, WIRE_FORMATS[name].bad_request):
        reply = read(name, raw_reply)
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
    match read(name, raw_reply):
        case PartnerAccepted(minutes_away=minutes):
            assert 0 <= minutes <= MAX_MINUTES_AWAY
        case PartnerDeclined(reason=text):
            assert len(text) <= MAX_REASON_CHARS
            assert text.isprintable()
        case UnreadableMessage(cause=cause, message=kept):
            assert (cause, kept.body) == (UnreadableCause.GARBLED, raw_reply)


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
        ("delta", b"{}"),
        ("delta", b'{"offer": {"arrives_in": "7"}}'),
        ("delta", b'{"offer": {"arrives_in": "PT7M"}, "refusal": {"code": "full"}}'),
        ("delta", b'{"offer": {"arrives_in": "PT9999M"}}'),
        ("delta", b'{"refusal": {"code": 7}}'),
        ("delta", b'{"status": "OK", "eta_s": 420}'),
    ],
)
def test_an_invalid_reply_is_unreadable(name: str, raw_reply: bytes) -> None:
    unreadable = UnreadableMessage(UnreadableCause.GARBLED, ForeignMessage(WIRE_FORMATS[name].media_type, raw_reply))
    assert read(name, raw_reply) == unreadable


def test_a_truncated_reply_is_unreadable() -> None:
    for profile, wire_format in PARTNERS:
        raw_reply = wire_format.encode_offer(profile.min_minutes_away)
        assert isinstance(read(profile.name, raw_reply[: len(raw_reply) // 2]), UnreadableMessage)


GOLDEN_REQUESTS = {
    "ada": b'{"trip": {"from": {"latitude": 52.5, "longitude": 13.4}, "when": 1803889200, "tier": "standard", '
    b'"seats": 2}}',
    "borealis": b"REQ;52.50000;13.40000;202703010820;S;2",
    "cargo": b'["offer?", [52500000, 13400000], "2027-03-01T08:20:00+00:00", "STANDARD", 2]',
    "delta": b'{"pickup": {"point": "52.50000,13.40000", "at": "2027-03-01T08:20:00+00:00"}, "class": "standard", '
    b'"seats": 2}',
}
GOLDEN_REPLIES = [
    ("application/vnd.ada.reply.v1+json", b'{"status": "OK", "eta_s": 301}', PartnerAccepted(6)),
    ("application/vnd.ada.reply.v1+json", b'{"status": "NO_CAPACITY"}', PartnerDeclined("NO_CAPACITY")),
    ("text/vnd.borealis.reply.v1", b"ACK;14", PartnerAccepted(14)),
    ("text/vnd.borealis.reply.v1", b"NAK;busy", PartnerDeclined("busy")),
    ("application/vnd.cargo.reply.v1+json", b'["yes", 16]', PartnerAccepted(10)),
    ("application/vnd.cargo.reply.v1+json", b'["no", "all out"]', PartnerDeclined("all out")),
    ("application/vnd.ada.reply.v2+json", b'{"offer": {"arrives_in": "PT7M"}}', PartnerAccepted(7)),
    ("application/vnd.ada.reply.v2+json", b'{"refusal": {"code": "full"}}', PartnerDeclined("full")),
]


@pytest.mark.parametrize("name", FLEETS)
def test_a_request_has_the_bytes_that_the_partner_has_published(name: str) -> None:
    assert TRANSLATORS[name].encode_request(fleet_request(name)) == GOLDEN_REQUESTS[name]


@pytest.mark.parametrize(("media_type", "raw_reply", "expected"), GOLDEN_REPLIES)
def test_a_published_reply_has_its_meaning(media_type: str, raw_reply: bytes, expected: PartnerReply) -> None:
    assert read_reply(ForeignMessage(media_type, raw_reply)) == expected


@pytest.mark.parametrize(("_", "raw_reply", "__"), GOLDEN_REPLIES)
def test_an_unknown_version_is_unreadable_although_its_bytes_look_like_a_known_one(
    _: str, raw_reply: bytes, __: PartnerReply
) -> None:
    unknown = ForeignMessage("application/vnd.ada.reply.v3+json", raw_reply)
    assert read_reply(unknown) == UnreadableMessage(UnreadableCause.UNKNOWN_VERSION, unknown)
