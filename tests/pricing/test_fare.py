"""Fare: its parts, and properties that hold for every ride."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from prebook.contracts.distance import distance_m
from prebook.contracts.pricing import QuoteFare
from prebook.contracts.ride import Place, VehicleClass
from prebook.contracts.zone import zone_of
from prebook.pricing.domain.campaign import discount_cents
from prebook.pricing.domain.demand import (
    HOURLY_SURCHARGE_PERCENT,
    demand_percent,
    popularity_percent,
)
from prebook.pricing.domain.fare import TooFar, TooShort, base_fare_cents, fare_of, time_percent
from prebook.pricing.domain.money import divide_half_up
from tests.pricing.quotes import BERLIN, TUESDAY_NOON, ride

places = st.builds(Place, lat=st.floats(-90, 90, allow_nan=False), lon=st.floats(-180, 180, allow_nan=False))
instants = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  bounds are naive
classes = st.sampled_from(VehicleClass)
passengers = st.integers(1, 6)


@st.composite
def rides_from(draw: st.DrawFn, pickup: st.SearchStrategy[Place] = places) -> QuoteFare:
    """Rides anywhere, with a drop-off mostly within the limits, so that there is a fare."""
    start = draw(pickup)
    north, east = draw(st.floats(-1.5, 1.5)), draw(st.floats(-1.5, 1.5))
    near = Place(lat=max(-90.0, min(90.0, start.lat + north)), lon=max(-180.0, min(180.0, start.lon + east)))
    return QuoteFare(
        pickup=start,
        dropoff=near,
        pickup_at=draw(instants),
        vehicle_class=draw(classes),
        passengers=draw(passengers),
    )


@pytest.mark.parametrize(
    ("metres", "vehicle_class", "riders", "cents"),
    [
        (10_000, VehicleClass.STANDARD, 1, 2000),
        (10_000, VehicleClass.COMFORT, 1, 2550),
        (10_000, VehicleClass.XL, 1, 3050),
        (10_000, VehicleClass.STANDARD, 4, 2150),
        (100, VehicleClass.STANDARD, 1, 600),
        (1_515, VehicleClass.STANDARD, 1, 600),
        (1_516, VehicleClass.STANDARD, 1, 600),
        (1_521, VehicleClass.STANDARD, 1, 601),
        (200_000, VehicleClass.XL, 6, 54_600),
    ],
)
def test_the_base_fare_depends_on_distance_class_and_passengers(
    metres: int, vehicle_class: VehicleClass, riders: int, cents: int
) -> None:
    assert base_fare_cents(metres, vehicle_class, riders) == cents


@pytest.mark.parametrize(
    ("at", "percent"),
    [
        ("2026-12-01T12:00:00", 0),
        ("2026-12-01T08:59:59", 15),
        ("2026-12-01T09:00:00", 0),
        ("2026-12-01T21:59:59", 0),
        ("2026-12-01T22:00:00", 20),
        ("2026-12-05T08:00:00", 5),
        ("2026-12-06T03:00:00", 25),
    ],
)
def test_surcharges_for_night_rush_hour_and_weekend(at: str, percent: int) -> None:
    assert time_percent(datetime.fromisoformat(at).replace(tzinfo=UTC)) == percent


def test_a_fare_is_base_fare_plus_surcharges() -> None:
    at = datetime(2026, 12, 1, 18, 0, tzinfo=UTC)
    assert distance_m(ride().pickup, ride().dropoff) == 10_008
    assert demand_percent(BERLIN, at) == divide_half_up(30 * popularity_percent(zone_of(BERLIN)), 100) == 29
    assert fare_of(ride(pickup_at=at)) == 2001 + divide_half_up(2001 * (15 + 29), 100) == 2881


@pytest.mark.parametrize(
    ("here", "there", "metres"),
    [
        ((0, 0), (0, 1), 111_195),
        ((0, 179.5), (0, -179.5), 111_195),
        ((90, 0), (90, 77), 0),
        ((0, 0), (0, 180), 20_015_087),
        ((52.52, 13.405), (48.1374, 11.5755), 504_286),
    ],
)
def test_distances_on_the_globe(here: tuple[float, float], there: tuple[float, float], metres: int) -> None:
    a, b = Place(lat=here[0], lon=here[1]), Place(lat=there[0], lon=there[1])
    assert distance_m(a, b) == distance_m(b, a) == metres


@pytest.mark.parametrize(
    ("north", "fare"),
    [(0.0, TooShort(0)), (0.00089, TooShort(99)), (1.7987, TooFar(200_006))],
)
def test_rides_outside_the_limits_have_no_fare(north: float, fare: object) -> None:
    assert fare_of(ride(dropoff=Place(lat=BERLIN.lat + north, lon=BERLIN.lon))) == fare


@pytest.mark.parametrize("north", [0.0009, 1.7986])
def test_rides_at_the_limits_have_a_fare(north: float) -> None:
    assert isinstance(fare_of(ride(dropoff=Place(lat=BERLIN.lat + north, lon=BERLIN.lon))), int)


@pytest.mark.parametrize(("n", "d", "rounded"), [(1, 2, 1), (3, 2, 2), (149, 100, 1), (150, 100, 2), (0, 7, 0)])
def test_one_half_rounds_up(n: int, d: int, rounded: int) -> None:
    assert divide_half_up(n, d) == rounded


@given(rides_from())
def test_a_fare_is_at_least_the_minimum_and_more_than_its_discount(request: QuoteFare) -> None:
    fare = fare_of(request)
    assume(isinstance(fare, int))
    assert isinstance(fare, int)
    assert fare >= 600
    assert 0 < discount_cents(fare) < fare


one_point_two_places = st.one_of(
    st.floats(-90, 90).map(lambda lat: ((lat, 180.0), (lat, -180.0))),
    st.floats(-90, 90).map(lambda lat: ((lat, 0.0), (lat, -0.0))),
    st.floats(-180, 180).map(lambda lon: ((0.0, lon), (-0.0, lon))),
    st.tuples(st.sampled_from([90.0, -90.0]), st.floats(-180, 180), st.floats(-180, 180)).map(
        lambda pole: ((pole[0], pole[1]), (pole[0], pole[2]))
    ),
)
"""Two spellings, as (latitude, longitude), of one point on the globe."""


@given(one_point_two_places, st.floats(-1.5, 1.5), st.floats(-180, 180), instants)
def test_one_point_has_one_fare(
    spellings: tuple[tuple[float, float], tuple[float, float]], north: float, lon: float, at: datetime
) -> None:
    here, same = (Place(lat=lat, lon=lon) for lat, lon in spellings)
    there = Place(lat=max(-90.0, min(90.0, here.lat + north)), lon=lon if abs(here.lat) > 89 else here.lon)
    assert here == same
    assert repr(here) == repr(same), "-0.0 equals 0.0, but has another text"
    for one, other in (((here, there), (same, there)), ((there, here), (there, same))):
        fares = [fare_of(ride(pickup=a, dropoff=b, pickup_at=at)) for a, b in (one, other)]
        assert fares[0] == fares[1]


@given(one_point_two_places)
def test_a_decoded_place_is_normalised_too(spellings: tuple[tuple[float, float], tuple[float, float]]) -> None:
    texts = {repr(msgspec.json.decode(f'{{"lat": {lat!r}, "lon": {lon!r}}}', type=Place)) for lat, lon in spellings}
    assert len(texts) == 1


@given(instants, places, st.floats(-0.7, 0.7), st.floats(-0.7, 0.7))
def test_a_longer_ride_is_never_cheaper(at: datetime, pickup: Place, one: float, other: float) -> None:
    """Compare two drop-offs of one pickup, in any direction."""
    fares = []
    for north in (one, other):
        there = Place(lat=max(-90.0, min(90.0, pickup.lat + north)), lon=pickup.lon)
        fares.append((distance_m(pickup, there), fare_of(ride(pickup=pickup, dropoff=there, pickup_at=at))))
    (near, cheap), (far, dear) = sorted(fares, key=lambda found: found[0])
    assume(isinstance(cheap, int) and isinstance(dear, int))
    assert isinstance(cheap, int)
    assert isinstance(dear, int)
    assert cheap <= dear if near < far else cheap == dear


@given(rides_from(), st.integers(-14 * 60, 14 * 60))
def test_the_time_zone_does_not_change_the_fare(request: QuoteFare, minutes: int) -> None:
    there = request.pickup_at.astimezone(timezone(timedelta(minutes=minutes)))
    moved: dict[str, Any] = {name: getattr(request, name) for name in request.__struct_fields__}
    assert fare_of(QuoteFare(**{**moved, "pickup_at": there})) == fare_of(request)


@given(places, instants)
def test_demand_is_at_most_the_surcharge_of_its_hour(pickup: Place, at: datetime) -> None:
    assert 0 <= demand_percent(pickup, at) <= HOURLY_SURCHARGE_PERCENT[at.hour]


def test_demand_adds_at_most_thirty_percent() -> None:
    assert max(HOURLY_SURCHARGE_PERCENT) == 30


def test_demand_differs_between_hours_and_between_zones() -> None:
    hours = {demand_percent(BERLIN, TUESDAY_NOON.replace(hour=hour)) for hour in range(24)}
    evening = TUESDAY_NOON.replace(hour=18)
    zones = {demand_percent(Place(lat=BERLIN.lat + n / 50, lon=BERLIN.lon), evening) for n in range(24)}
    assert len(hours) > 8
    assert len(zones) > 8


def test_popularity_is_the_same_in_every_process() -> None:
    """Compare with fixed values: ``hash()`` would differ from process to process."""
    assert [popularity_percent((n, 670)) for n in range(2620, 2626)] == [93, 14, 40, 33, 84, 95]
