"""What riders may send by mistake or on purpose: told with the right status, and no trace of it in any table."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import msgspec
import pytest

from tests.integration.database_probe import DatabaseProbe
from tests.integration.rider_client import RiderClient
from tests.world import ride

pytestmark = pytest.mark.real
JSON = {"content-type": "application/json"}
KEYED = JSON | {"idempotency-key": "bad-input"}


def body(**changes: Any) -> bytes:
    return msgspec.json.encode(ride() | changes)


BODIES: dict[str, tuple[bytes, int, str]] = {
    "malformed JSON": (b'{"rider_id": "ro', 400, "malformed_json"),
    "nothing": (b"", 400, "malformed_json"),
    "not UTF-8": (b'{"rider_id": "\xff\xfe"}', 400, "malformed_json"),
    "nested deeply": (b'{"pickup":' * 3000 + b"1" + b"}" * 3000, 422, "invalid_body"),
    "no object": (b"[]", 422, "invalid_body"),
    "a number that is no JSON": (body().replace(b"52.5", b"NaN"), 400, "malformed_json"),
    "unknown field": (body(surge=True), 422, "invalid_body"),
    "unknown field below": (body(pickup={"lat": 1, "lon": 1, "alt": 1}), 422, "invalid_body"),
    "field missing": (msgspec.json.encode({k: v for k, v in ride().items() if k != "pickup"}), 422, "invalid_body"),
    "past pickup": (body(pickup_at="2020-01-01T00:00:00Z"), 422, "invalid_booking"),
    "pickup in the far future": (body(pickup_at="2999-01-01T00:00:00Z"), 422, "invalid_booking"),
    "pickup without an offset": (body(pickup_at="2030-01-01T00:00:00"), 422, "invalid_body"),
    "latitude beyond the pole": (body(pickup={"lat": 90.1, "lon": 0}), 422, "invalid_body"),
    "absurd longitude": (body(dropoff={"lat": 0, "lon": 1e300}), 422, "invalid_body"),
    "drop-off at the pickup": (body(dropoff=ride()["pickup"]), 422, "invalid_booking"),
    "text for a number": (body(passengers="2"), 422, "invalid_body"),
    "seven passengers": (body(passengers=7), 422, "invalid_body"),
    "a huge number": (body().replace(b'"passengers":1', b'"passengers":' + b"9" * 5000), 422, "invalid_body"),
    "a rider with a line break": (body(rider_id="ro\nsa"), 422, "invalid_body"),
    "unknown class": (body(vehicle_class="rickshaw"), 422, "invalid_body"),
    "unknown coupling": (body(couplings={"quote_fare": "telepathy"}), 422, "invalid_body"),
    "unknown flow": (body(couplings={"quote_weather": "one_way"}), 422, "invalid_booking"),
    "callback to the inside": (body(callback_url="http://169.254.169.254/"), 422, "invalid_booking"),
    "100 KiB": (body(rider_id="r" * 100 * 1024), 413, "request_entity_too_large"),
}
HEADERS: dict[str, tuple[Mapping[str, str | bytes], int, str]] = {
    "no key": ({**JSON}, 400, "idempotency_key_missing"),
    "an empty key": ({**JSON, "idempotency-key": ""}, 400, "idempotency_key_missing"),
    "a key with a space": ({**JSON, "idempotency-key": "a b"}, 400, "idempotency_key_invalid"),
    "a key that is not ASCII": ({**JSON, "idempotency-key": "schlüssel".encode()}, 400, "idempotency_key_invalid"),
    "a key that is too long": ({**JSON, "idempotency-key": "k" * 256}, 400, "idempotency_key_invalid"),
    "a form": (
        {"content-type": "application/x-www-form-urlencoded", "idempotency-key": "k"},
        415,
        "unsupported_media_type",
    ),
    "no content type": (KEYED | {"content-type": ""}, 415, "unsupported_media_type"),
}
PATHS = {
    "an unknown booking": ("GET", "/v1/bookings/bk_nobody", 404, "no_such_booking"),
    "an id that is none": ("GET", "/v1/bookings/%27%3B--", 404, "no_such_booking"),
    "cancelling nothing": ("DELETE", "/v1/bookings/bk_nobody", 404, "no_such_booking"),
    "an unknown path": ("GET", "/v1/rides", 404, "not_found"),
    "a method that is not served": ("PUT", "/v1/bookings", 405, "method_not_allowed"),
    "a page without end": ("GET", "/v1/ledger?limit=1000000", 400, "invalid_parameter"),
}


@pytest.fixture
async def http(rider: RiderClient, database: DatabaseProbe) -> AsyncIterator[httpx.AsyncClient]:
    """No table has a row more when the test is over."""
    before = await database.count_rows()
    yield rider.http
    assert await database.count_rows() == before


def is_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert (told["status"], told["code"]) == (status, code), told
    assert len(told["trace_id"]) == 32
    assert told["detail"]


@pytest.mark.parametrize("what", BODIES)
async def test_a_wrong_body(http: httpx.AsyncClient, what: str) -> None:
    content, status, code = BODIES[what]
    is_problem(await http.post("/v1/bookings", content=content, headers=KEYED), status, code)


@pytest.mark.parametrize("what", HEADERS)
async def test_a_wrong_header(http: httpx.AsyncClient, what: str) -> None:
    headers, status, code = HEADERS[what]
    is_problem(await http.post("/v1/bookings", content=body(), headers=headers), status, code)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", PATHS)
async def test_a_wrong_path(http: httpx.AsyncClient, what: str) -> None:
    method, path, status, code = PATHS[what]
    is_problem(await http.request(method, path), status, code)
