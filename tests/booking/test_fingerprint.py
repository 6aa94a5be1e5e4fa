"""Fingerprint of a booking request: the same for every spelling of one request, another for every other request."""

import json
import random
from datetime import timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prebook.booking.use_cases.book import fingerprint_of
from prebook.contracts.booking import BookingRequest
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from tests.booking.booking_suite import NOW, BookingSuite, body, book

COORDINATES = st.sampled_from([0.0, -0.0, 13.4, -33.9]) | st.floats(-90, 90)
PLACES = st.fixed_dictionaries({"lat": COORDINATES, "lon": COORDINATES | st.sampled_from([180.0, -180.0])})
PLANS = st.none() | st.dictionaries(st.sampled_from(sorted(FLOWS)), st.sampled_from([c.value for c in Coupling]))
REQUESTS = st.fixed_dictionaries(
    {
        "rider_id": st.from_regex(r"\A[A-Za-z0-9_.:-]{1,20}\Z"),
        "pickup": PLACES,
        "dropoff": PLACES,
        "pickup_at": st.timedeltas(timedelta(0), timedelta(days=9999)).map(lambda later: NOW + later),
        "vehicle_class": st.sampled_from(["standard", "comfort", "xl"]),
        "passengers": st.integers(1, 6),
        "callback_url": st.none() | st.just("https://hooks.example.com/é"),
        "couplings": PLANS,
    }
)
ALL_FIELDS = {**body(), "callback_url": "https://hooks.example.com/", "couplings": {"quote_fare": "sync_api"}}


def fingerprint(text: str) -> bytes:
    return fingerprint_of(msgspec.json.decode(text, type=BookingRequest))


def spell(fields: dict[str, Any], rng: random.Random) -> str:
    """Write a request as JSON in one of its spellings."""
    offset = timezone(timedelta(minutes=rng.randint(-14 * 60, 14 * 60)))
    spelled = {
        **fields,
        "pickup_at": fields["pickup_at"].astimezone(offset).isoformat(),
        "pickup": _spell_place(fields["pickup"], rng),
        "dropoff": _spell_place(fields["dropoff"], rng),
    }
    kept = [(name, value) for name, value in spelled.items() if value not in (None, {}) or rng.random() < 0.5]
    rng.shuffle(kept)
    return json.dumps(dict(kept), indent=rng.choice([None, 0, 3]), ensure_ascii=rng.random() < 0.5)


def _spell_place(place: dict[str, float], rng: random.Random) -> dict[str, float]:
    spelled = {name: rng.choice([value, -value]) if value in (0, 180, -180) else value for name, value in place.items()}
    whole = {name: int(value) if value and value == int(value) else value for name, value in spelled.items()}
    pairs = list(rng.choice([spelled, whole]).items())
    rng.shuffle(pairs)
    return dict(pairs)


@given(REQUESTS, st.randoms(use_true_random=False))
def test_every_spelling_of_a_request_has_one_fingerprint(fields: dict[str, Any], rng: random.Random) -> None:
    assert fingerprint(spell(fields, rng)) == fingerprint(spell(fields, rng))


@pytest.mark.parametrize(
    "change",
    [
        {"rider_id": "rosa2"},
        {"pickup": {"lat": 52.52, "lon": 13.41}},
        {"dropoff": {"lat": -52.45, "lon": 13.30}},
        {"pickup_at": "2030-05-02T08:07:00.000001Z"},
        {"pickup_at": "2030-05-02T08:07:00+01:00"},
        {"vehicle_class": "xl"},
        {"passengers": 3},
        {"callback_url": "https://hooks.example.com/2"},
        {"callback_url": None},
        {"couplings": {"quote_fare": "async_api"}},
        {"couplings": {}},
    ],
)
def test_another_request_has_another_fingerprint(change: dict[str, Any]) -> None:
    assert fingerprint(json.dumps({**ALL_FIELDS, **change})) != fingerprint(json.dumps(ALL_FIELDS))


async def test_the_same_instant_at_another_offset_gets_the_stored_response() -> None:
    suite = BookingSuite()
    first = await book(suite, pickup_at="2030-05-02T08:07:00Z")
    second = await book(suite, pickup_at="2030-05-02T10:07:00+02:00")

    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert len(suite.bookings) == 1


async def test_times_are_utc_whatever_the_offset_of_the_request() -> None:
    response = await book(BookingSuite(Coupling.SYNC_API), pickup_at="2030-05-02T10:07:00+02:00")

    assert response.json()["pickup_at"] == "2030-05-02T08:07:00Z"


@pytest.mark.parametrize("pickup_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_time_that_utc_cannot_express_is_refused(pickup_at: str) -> None:
    response = await book(BookingSuite(), pickup_at=pickup_at)

    assert (response.status_code, [error["pointer"] for error in response.json()["errors"]]) == (422, ["/pickup_at"])
