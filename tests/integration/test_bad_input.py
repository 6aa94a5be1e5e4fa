"""Invalid and hostile requests of riders: each gets the right status, and none leaves a row in any table."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import msgspec
import pytest

from tests.integration.database_probe import DatabaseProbe
from tests.integration.internal_client import open_internal_client
from tests.integration.rider_client import RiderClient
from tests.integration.suite import Suite
from tests.world import ride

pytestmark = pytest.mark.real
JSON = {"content-type": "application/json"}
KEYED = JSON | {"idempotency-key": "bad-input"}


def body(**changes: Any) -> bytes:
    """Return the JSON body of a valid booking request, with ``changes``."""
    return msgspec.json.encode(ride() | changes)


BODIES: dict[str, tuple[bytes, int, str]] = {
    "malformed JSON": (b'{"rider_id": "ro', 400, "malformed_json"),
    "empty body": (b"", 400, "malformed_json"),
    "not UTF-8": (b'{"rider_id": "\xff\xfe"}', 400, "malformed_json"),
    "deep nesting": (b'{"pickup":' * 3000 + b"1" + b"}" * 3000, 422, "invalid_body"),
    "array in place of an object": (b"[]", 422, "invalid_body"),
    "NaN in place of a number": (body().replace(b"52.5", b"NaN"), 400, "malformed_json"),
    "unknown field": (body(surge=True), 422, "invalid_body"),
    "unknown nested field": (body(pickup={"lat": 1, "lon": 1, "alt": 1}), 422, "invalid_body"),
    "missing field": (msgspec.json.encode({k: v for k, v in ride().items() if k != "pickup"}), 422, "invalid_body"),
    "past pickup": (body(pickup_at="2020-01-01T00:00:00Z"), 422, "invalid_booking"),
    "pickup in the far future": (body(pickup_at="2999-01-01T00:00:00Z"), 422, "invalid_booking"),
    "pickup without UTC offset": (body(pickup_at="2030-01-01T00:00:00"), 422, "invalid_body"),
    "latitude beyond the pole": (body(pickup={"lat": 90.1, "lon": 0}), 422, "invalid_body"),
    "longitude far out of range": (body(dropoff={"lat": 0, "lon": 1e300}), 422, "invalid_body"),
    "drop-off at the pickup": (body(dropoff=ride()["pickup"]), 422, "invalid_booking"),
    "text in place of a number": (body(passengers="2"), 422, "invalid_body"),
    "seven passengers": (body(passengers=7), 422, "invalid_body"),
    "number of 5000 digits": (body().replace(b'"passengers":1', b'"passengers":' + b"9" * 5000), 422, "invalid_body"),
    "rider id with a line break": (body(rider_id="ro\nsa"), 422, "invalid_body"),
    "unknown vehicle class": (body(vehicle_class="rickshaw"), 422, "invalid_body"),
    "unknown coupling": (body(couplings={"quote_fare": "telepathy"}), 422, "invalid_body"),
    "unknown flow": (body(couplings={"quote_weather": "one_way"}), 422, "invalid_booking"),
    "callback to a link-local address": (body(callback_url="http://169.254.169.254/"), 422, "invalid_booking"),
    "body above the size limit": (body(rider_id="r" * 100 * 1024), 413, "request_entity_too_large"),
}
HEADERS: dict[str, tuple[Mapping[str, str | bytes], int, str]] = {
    "no key": ({**JSON}, 400, "idempotency_key_missing"),
    "an empty key": ({**JSON, "idempotency-key": ""}, 400, "idempotency_key_missing"),
    "a key with a space": ({**JSON, "idempotency-key": "a b"}, 400, "idempotency_key_invalid"),
    "a key that is not ASCII": ({**JSON, "idempotency-key": "schlüssel".encode()}, 400, "idempotency_key_invalid"),
    "a key that is too long": ({**JSON, "idempotency-key": "k" * 256}, 400, "idempotency_key_invalid"),
    "a form content type": (
        {"content-type": "application/x-www-form-urlencoded", "idempotency-key": "k"},
        415,
        "unsupported_media_type",
    ),
    "no content type": (KEYED | {"content-type": ""}, 415, "unsupported_media_type"),
}
PATHS = {
    "an unknown booking": ("GET", "/v1/bookings/bk_nobody", 404, "no_such_booking"),
    "a malformed booking id": ("GET", "/v1/bookings/%27%3B--", 404, "no_such_booking"),
    "cancelling an unknown booking": ("DELETE", "/v1/bookings/bk_nobody", 404, "no_such_booking"),
    "an unknown path": ("GET", "/v1/rides", 404, "not_found"),
    "an unsupported method": ("PUT", "/v1/bookings", 405, "method_not_allowed"),
    "an internal path": ("GET", "/v1/ledger?limit=1", 404, "not_found"),
}


@pytest.fixture
async def http(rider: RiderClient, database: DatabaseProbe) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP client of booking; after the test, the row counts of all tables must be unchanged."""
    before = await database.count_rows()
    yield rider.http
    assert await database.count_rows() == before


def assert_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert len(problem["trace_id"]) == 32
    assert problem["detail"]


@pytest.mark.parametrize("case", BODIES)
async def test_an_invalid_body_is_refused_without_effect(http: httpx.AsyncClient, case: str) -> None:
    content, status, code = BODIES[case]
    assert_problem(await http.post("/v1/bookings", content=content, headers=KEYED), status, code)


@pytest.mark.parametrize("case", HEADERS)
async def test_an_invalid_header_is_refused_without_effect(http: httpx.AsyncClient, case: str) -> None:
    headers, status, code = HEADERS[case]
    assert_problem(await http.post("/v1/bookings", content=body(), headers=headers), status, code)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", PATHS)
async def test_an_invalid_path_is_refused_without_effect(http: httpx.AsyncClient, case: str) -> None:
    method, path, status, code = PATHS[case]
    assert_problem(await http.request(method, path), status, code)


async def test_a_page_size_above_the_limit_is_refused(suite: Suite) -> None:
    async with open_internal_client(suite, "booking") as client:
        assert_problem(await client.get("/v1/ledger?limit=1000000"), 400, "invalid_parameter")
