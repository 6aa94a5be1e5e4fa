"""Booking's API of routes: responses to riders, and the events that follow."""

from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from prebook.contracts.plan import Coupling
from prebook.contracts.route import MAX_ROUTE_BYTES, RouteGeometry
from prebook.flows import ROUTE_PLANNED
from prebook.patterns.claim_check import MAX_CHECKED_BYTES
from tests.booking.booking_suite import DROPOFF, PICKUP, RIDE, BookingSuite, book

JSON = {"content-type": "application/json"}
POINTS = [[PICKUP.lon, PICKUP.lat], [13.35, 52.5], [DROPOFF.lon, DROPOFF.lat]]
LINE = {"type": "LineString", "coordinates": POINTS}


async def booked(suite: BookingSuite) -> str:
    response = await book(suite)
    return str(response.json()["id"])


async def put(suite: BookingSuite, booking_id: str, body: Any, **options: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return await suite.client().put(f"/v1/bookings/{booking_id}/route", content=content, headers=JSON, **options)


def events(suite: BookingSuite) -> list[str]:
    rows = suite.database.tables.outbox.values()
    return [row.message.envelope.id for row in rows if row.message.envelope.flow == ROUTE_PLANNED.name]


async def test_a_route_is_stored_published_and_returned() -> None:
    suite = BookingSuite()
    booking_id = await booked(suite)
    response = await put(suite, booking_id, LINE)
    assert (response.status_code, response.json()) == (201, {"booking_id": booking_id, "revision": 1, "points": 3})
    assert events(suite) == [f"{booking_id}.route_planned.1"]
    found = await suite.client().get(f"/v1/bookings/{booking_id}/route")
    assert found.json() == {"booking_id": booking_id, "revision": 1, "geometry": LINE}


async def test_the_same_route_again_has_no_further_effect() -> None:
    suite = BookingSuite()
    booking_id = await booked(suite)
    first = await put(suite, booking_id, LINE)
    again = await put(suite, booking_id, {"coordinates": POINTS, "type": "LineString"})
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert len(events(suite)) == 1


def test_the_negative_zero_of_a_point_is_zero() -> None:
    written = [b"[[-0.0, 0], [13.4, -0.0]]", b"[[0.0, 0.0], [13.4, 0]]"]
    bodies = [b'{"type": "LineString", "coordinates": %s}' % coordinates for coordinates in written]
    encoded = {msgspec.json.encode(msgspec.json.decode(body, type=RouteGeometry)) for body in bodies}
    assert len(encoded) == 1, "equal routes are stored as equal texts"


async def test_another_route_replaces_it() -> None:
    suite = BookingSuite()
    booking_id = await booked(suite)
    await put(suite, booking_id, LINE)
    response = await put(suite, booking_id, {**LINE, "coordinates": [POINTS[0], POINTS[-1]]})
    assert (response.status_code, response.json()["revision"], response.json()["points"]) == (200, 2, 2)
    assert events(suite) == [f"{booking_id}.route_planned.{revision}" for revision in (1, 2)]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"", 400, "malformed_json"),
        ({**LINE, "type": "Point"}, 422, "invalid_body"),
        ({**LINE, "colour": "red"}, 422, "invalid_body"),
        ({**LINE, "coordinates": POINTS[:1]}, 422, "invalid_body"),
        ({**LINE, "coordinates": [[*POINTS[0], 30.0], POINTS[-1]]}, 422, "invalid_body"),
        ({**LINE, "coordinates": [[181.0, 52.0], POINTS[-1]]}, 422, "invalid_body"),
        ({**LINE, "coordinates": [[52.52, 13.40], POINTS[-1]]}, 422, "route_elsewhere"),
        ({**LINE, "coordinates": [POINTS[0], POINTS[0]]}, 422, "route_elsewhere"),
        (b" " * (MAX_ROUTE_BYTES + 1), 413, "request_entity_too_large"),
    ],
)
async def test_a_wrong_route_is_a_problem_and_has_no_effect(body: Any, status: int, code: str) -> None:
    suite = BookingSuite()
    response = await put(suite, await booked(suite), body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert events(suite) == []


async def test_the_largest_route_is_stored() -> None:
    suite = BookingSuite()
    booking_id = await booked(suite)
    text = msgspec.json.encode(LINE)
    response = await put(suite, booking_id, text + b" " * (MAX_ROUTE_BYTES - len(text)))
    assert response.status_code == 201, response.text


async def test_other_bodies_keep_their_smaller_limit() -> None:
    response = (
        await BookingSuite()
        .client()
        .post("/v1/bookings", content=b" " * 70_000, headers={**JSON, "idempotency-key": "k"})
    )
    assert response.status_code == 413


async def test_another_media_type_is_refused() -> None:
    suite = BookingSuite()
    path = f"/v1/bookings/{await booked(suite)}/route"
    response = await suite.client().put(path, content=b"{}", headers={"content-type": "text/plain"})
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("booking_id", ["bk_unknown", "bk%20unknown"])
async def test_an_unknown_booking_has_no_route(booking_id: str) -> None:
    suite = BookingSuite()
    assert (await put(suite, booking_id, LINE)).json()["code"] == "no_such_booking"
    assert (await suite.client().get(f"/v1/bookings/{booking_id}/route")).status_code == 404


async def test_a_booking_without_a_route_says_so() -> None:
    suite = BookingSuite()
    response = await suite.client().get(f"/v1/bookings/{await booked(suite)}/route")
    assert (response.status_code, response.json()["code"]) == (404, "no_route")


async def test_no_route_is_planned_after_the_ride_has_ended_or_begun() -> None:
    suite = BookingSuite(Coupling.SYNC_API)
    confirmed = await booked(suite)
    assert (await put(suite, confirmed, LINE)).status_code == 201
    suite.clock.now = RIDE.pickup_at + timedelta(seconds=1)
    assert (await put(suite, confirmed, LINE)).json()["code"] == "pickup_has_passed"
    suite.clock.now = RIDE.pickup_at - timedelta(hours=1)
    await suite.client().delete(f"/v1/bookings/{confirmed}")
    response = await put(suite, confirmed, LINE)
    assert (response.status_code, response.json()["code"]) == (409, "booking_over")


async def test_the_event_of_the_densest_route_fits_into_the_claim_store() -> None:
    """A point of two digits becomes one of two numbers with a decimal, so that the event is larger than the request."""
    suite = BookingSuite()
    booking_id = str((await book(suite, pickup={"lat": 0, "lon": 0}, dropoff={"lat": 0, "lon": 1})).json()["id"])
    text = b'{"type":"LineString","coordinates":[[0,0],%s[1,0]]}'
    count = (MAX_ROUTE_BYTES - len(text)) // len(b"[0,0],")
    response = await put(suite, booking_id, text % (b"[0,0]," * count))
    assert response.status_code == 201, response.text
    (stored,) = suite.database.tables.bodies.values()
    assert MAX_ROUTE_BYTES < len(stored.body) < MAX_CHECKED_BYTES
