"""Our words and the partners': there and back, and nothing that a partner says can hurt."""

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
from tests.fleets.asks import ask, asks

LANGUAGES: dict[str, WireFormat] = {character.name: language for character, language in PARTNERS}


def test_matching_asks_the_fleets_that_there_are() -> None:
    assert set(matching.FLEETS) == set(FLEETS) == set(TRANSLATORS) == set(LANGUAGES)


def test_the_three_partners_speak_three_languages() -> None:
    said = {name: translator.encode_request(ask(name)) for name, translator in TRANSLATORS.items()}
    for name, language in LANGUAGES.items():
        for other in set(said) - {name}:
            with pytest.raises((ValueError, LookupError, TypeError)):
                language.decode_request(said[other])


@given(asks())
def test_a_partner_reads_the_trip_that_we_ask_about(question: AskFleet) -> None:
    trip = LANGUAGES[question.fleet].decode_request(TRANSLATORS[question.fleet].encode_request(question))
    # Half of a unit by rounding, and a little for what the wire itself rounds.
    assert abs(trip.lat - question.pickup.lat * 1e5) <= 0.61
    assert abs(trip.lon - question.pickup.lon * 1e5) <= 0.61
    assert trip.quarter * QUARTER_HOUR_S == slot_of(question.pickup_at).timestamp()
    assert trip.seats == question.passengers


@given(asks())
def test_the_time_zone_of_a_pickup_is_not_part_of_the_ride(question: AskFleet) -> None:
    utc = msgspec.structs.replace(question, pickup_at=question.pickup_at.astimezone(UTC))
    partner = LANGUAGES[question.fleet]
    speak = TRANSLATORS[question.fleet].encode_request
    assert partner.decode_request(speak(question)) == partner.decode_request(speak(utc))
    assert slot_of(question.pickup_at) == slot_of(utc.pickup_at)


@pytest.mark.parametrize("name", FLEETS)
@given(minutes=st.integers(0, MAX_MINUTES_AWAY))
def test_an_offer_keeps_its_minutes(name: str, minutes: int) -> None:
    assert TRANSLATORS[name].read_reply(LANGUAGES[name].encode_offer(minutes)) == PartnerAccepted(minutes)


@pytest.mark.parametrize("name", FLEETS)
def test_refusals_and_misunderstandings_are_refusals(name: str) -> None:
    for said in (LANGUAGES[name].decline, LANGUAGES[name].bad_request):
        reply = TRANSLATORS[name].read_reply(said)
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
STRANGE = st.one_of(
    st.binary(max_size=300),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.tuples(st.sampled_from(["ACK", "NAK", ""]), st.text(max_size=80)).map(lambda pair: ";".join(pair).encode()),
    st.fixed_dictionaries({"status": st.just("OK"), "eta_s": JSON}).map(lambda value: json.dumps(value).encode()),
)


@pytest.mark.parametrize("name", FLEETS)
@given(said=STRANGE)
def test_whatever_a_partner_says_becomes_a_bounded_reply(name: str, said: bytes) -> None:
    match TRANSLATORS[name].read_reply(said):
        case PartnerAccepted(minutes_away=minutes):
            assert 0 <= minutes <= MAX_MINUTES_AWAY
        case PartnerDeclined(reason=text) | UnreadableReply(excerpt=text):
            assert len(text) <= 200
            assert text.isprintable()


@pytest.mark.parametrize(
    ("name", "said"),
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
def test_what_is_no_reply_is_kept_as_evidence(name: str, said: bytes) -> None:
    assert isinstance(TRANSLATORS[name].read_reply(said), UnreadableReply)


def test_a_garbling_partner_is_not_understood() -> None:
    for character, language in PARTNERS:
        said = language.encode_offer(character.min_minutes_away)
        assert isinstance(TRANSLATORS[character.name].read_reply(said[: len(said) // 2]), UnreadableReply)
