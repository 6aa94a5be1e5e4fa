"""Booking's API over an in-memory store: refused requests."""

from typing import Any

import pytest

from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS
from tests.booking.booking_suite import NOW, BookingSuite, body, book, key_header

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"rider_id": ""}, 422, "/rider_id"),
        ({"rider_id": "a b"}, 422, "/rider_id"),
        ({"pickup": {"lat": 91.0, "lon": 0.0}}, 422, "/pickup/lat"),
        ({"dropoff": {"lat": 0.0, "lon": -180.5}}, 422, "/dropoff/lon"),
        ({"pickup": {"lat": "52", "lon": 0.0}}, 422, "/pickup/lat"),
        ({"pickup": {"lat": 1.0, "lon": 0.0, "alt": 3}}, 422, "/pickup/alt"),
        ({"dropoff": body()["pickup"]}, 422, "/dropoff"),
        ({"pickup_at": "2030-05-02T08:07:00"}, 422, "/pickup_at"),
        ({"pickup_at": "tomorrow"}, 422, "/pickup_at"),
        ({"pickup_at": NOW.isoformat()}, 422, "/pickup_at"),
        ({"pickup_at": "2031-06-02T08:07:00Z"}, 422, "/pickup_at"),
        ({"pickup_at": "9999-12-31T23:59:59-23:59"}, 422, "/pickup_at"),
        ({"pickup_at": "0001-01-01T00:00:00+23:59"}, 422, "/pickup_at"),
        ({"vehicle_class": "tank"}, 422, "/vehicle_class"),
        ({"passengers": 0}, 422, "/passengers"),
        ({"passengers": "2"}, 422, "/passengers"),
        ({"passengers": 2.5}, 422, "/passengers"),
        ({"tip": 1}, 422, "/tip"),
        ({"couplings": {"quote_fare": "pigeon"}}, 422, "/couplings"),
        ({"couplings": {"quote_ferry": "sync_api"}}, 422, "/couplings"),
        ({"callback_url": "https://evil.test/"}, 422, "/callback_url"),
        ({"callback_url": "http://169.254.169.254/"}, 422, "/callback_url"),
        ({"callback_url": "x" * 513}, 422, "/callback_url"),
    ],
)
async def test_an_invalid_body_is_refused_with_a_pointer_and_stores_nothing(
    changes: dict[str, Any], status: int, pointer: str
) -> None:
    suite = BookingSuite(allow_plan_override=True)
    response = await book(suite, **changes)

    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert (suite.bookings, suite.database.tables.outbox) == ({}, {})


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", key_header() | JSON, 400, "malformed_json"),
        (b"", key_header() | JSON, 400, "malformed_json"),
        (b"\xff\xfe", key_header() | JSON, 400, "malformed_json"),
        (b'{"rider_id": "\xff"}', key_header() | JSON, 400, "malformed_json"),
        (b'{"rider_id": NaN}', key_header() | JSON, 400, "malformed_json"),
        (b"[" * 60000, key_header() | JSON, 422, "invalid_body"),
        (b"[]", key_header() | JSON, 422, "invalid_body"),
        (b"{}", key_header() | {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", key_header() | {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b" " * 65537, key_header() | JSON, 413, "request_entity_too_large"),
        (b"{}", JSON, 400, "idempotency_key_missing"),
        (b"{}", key_header("") | JSON, 400, "idempotency_key_missing"),
        (b"{}", key_header("a b") | JSON, 400, "idempotency_key_invalid"),
        (b"{}", key_header("x" * 256) | JSON, 400, "idempotency_key_invalid"),
    ],
)
async def test_a_malformed_request_is_a_problem(
    content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    async with BookingSuite().client() as client:
        response = await client.post("/v1/bookings", content=content, headers=headers)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_longest_key_and_a_charset_are_accepted() -> None:
    suite = BookingSuite()
    async with suite.client() as client:
        headers = key_header("~" * 255) | {"content-type": "application/json; charset=utf-8"}
        response = await client.post("/v1/bookings", json=body(), headers=headers)

    assert response.status_code == 202


async def test_couplings_are_refused_unless_overrides_are_allowed() -> None:
    request = {"find_driver": "one_way"}
    refused = await book(BookingSuite(), couplings=request)
    accepted = await book(BookingSuite(allow_plan_override=True), couplings=request)

    assert (refused.status_code, refused.json()["code"]) == (403, "plan_override_off")
    assert accepted.json()["couplings"] == {**dict.fromkeys(FLOWS, "request_reply"), "find_driver": "one_way"}


async def test_an_unavailable_provider_refuses_before_anything_is_stored() -> None:
    suite = BookingSuite(Coupling.SYNC_API)
    await suite.open_circuit()
    response = await book(suite)

    assert (response.status_code, response.json()["code"]) == (503, "pricing_unavailable")
    assert response.headers["retry-after"] == "1"
    assert suite.bookings == {}


async def test_a_listed_callback_is_stored() -> None:
    suite = BookingSuite()
    response = await book(suite, callback_url="https://hooks.example.com/settled")

    assert suite.bookings[response.json()["id"]].ride.report_url == "https://hooks.example.com/settled"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "prefix=%00", "after=a%20b"])
async def test_an_invalid_query_is_a_problem(query: str) -> None:
    async with BookingSuite().console() as client:
        response = await client.get(f"/v1/ledger?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")


async def test_the_openapi_document_lists_every_refusal() -> None:
    async with BookingSuite().client() as client:
        document = (await client.get("/schema/openapi.json")).json()

    booking = document["paths"]["/v1/bookings"]["post"]
    schemas = document["components"]["schemas"]
    assert set(booking["responses"]) == {*("201", "202", "400", "401", "403", "409", "413", "415", "422", "429", "503")}
    assert list(booking["responses"]["422"]["content"]) == ["application/problem+json"]
    assert (schemas["BookingRequest"]["additionalProperties"], schemas["Place"]["additionalProperties"]) == (
        False,
        False,
    )
    (key,) = [p for p in booking["parameters"] if p["in"] == "header"]
    assert (key["name"], key["required"]) == ("Idempotency-Key", True)
