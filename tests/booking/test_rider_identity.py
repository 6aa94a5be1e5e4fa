"""The rider whom a proxy has authenticated: their keys and bookings are theirs alone, and nobody else is believed."""

from typing import Any

import httpx
import pytest

from prebook.contracts.plan import Coupling
from prebook.http.rider_identity import RiderIdentity
from prebook.testing.http import create_memory_app
from tests.booking.booking_suite import BookingSuite, body, book, key_header

PROXY = "10.0.0.7"
STRANGER = "203.0.113.9"
ANN = {"x-rider-id": "ann"}
BOB = {"x-rider-id": "bob"}


def suite_behind_proxy(**settings: Any) -> BookingSuite:
    proxies = frozenset({"10.0.0.0/24", "fd00::/8"})
    return BookingSuite(Coupling.SYNC_API, rider_header="X-Rider-Id", trusted_proxies=proxies, **settings)


def connect(suite: BookingSuite, peer: str = PROXY) -> httpx.AsyncClient:
    app: Any = create_memory_app(suite.assembled)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(peer, 4711)), base_url="http://booking")


def anonymous_body(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in body(**changes).items() if name != "rider_id"}


async def test_the_rider_of_the_header_books_and_nobody_else_sees_the_booking() -> None:
    async with connect(suite_behind_proxy()) as client:
        made = await client.post("/v1/bookings", json=anonymous_body(), headers=key_header() | ANN)
        url = made.headers["location"]
        seen = await client.get(url, headers=ANN)
        others = [await client.request(method, url, headers=BOB) for method in ("GET", "HEAD", "DELETE")]
        cancelled = await client.delete(url, headers=ANN)

    assert (made.status_code, made.json()["rider_id"]) == (201, "ann")
    assert seen.json() == made.json()
    assert [one.status_code for one in others] == [404, 404, 404]
    assert others[0].json()["code"] == "no_such_booking"
    assert cancelled.json()["state"] == "cancelled"


async def test_two_riders_may_use_one_key() -> None:
    suite = suite_behind_proxy()
    async with connect(suite) as client:
        first = await client.post("/v1/bookings", json=anonymous_body(), headers=key_header() | ANN)
        second = await client.post("/v1/bookings", json=anonymous_body(passengers=1), headers=key_header() | BOB)
        again = await client.post("/v1/bookings", json=anonymous_body(), headers=key_header() | ANN)

    assert (first.status_code, second.status_code) == (201, 201)
    assert again.content == first.content
    assert len(suite.bookings) == 2


async def test_without_identity_a_key_belongs_to_the_rider_of_the_body() -> None:
    suite = BookingSuite()
    first = await book(suite, rider_id="ann")
    second = await book(suite, rider_id="bob", passengers=1)
    reused = await book(suite, rider_id="ann", passengers=1)

    assert {first.status_code, second.status_code} == {202}
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    assert len(suite.bookings) == 2


async def test_without_identity_the_header_means_nothing_and_the_body_names_the_rider() -> None:
    async with BookingSuite().client() as client:
        made = await client.post("/v1/bookings", json=body(rider_id="ann"), headers=key_header() | BOB)
        nameless = await client.post("/v1/bookings", json=anonymous_body(), headers=key_header("k2") | BOB)

    assert made.json()["rider_id"] == "ann"
    assert (nameless.status_code, nameless.json()["errors"][0]["pointer"]) == (422, "/rider_id")


async def test_a_body_may_name_the_rider_of_the_header_only() -> None:
    suite = suite_behind_proxy()
    async with connect(suite) as client:
        same = await client.post("/v1/bookings", json=body(rider_id="ann"), headers=key_header() | ANN)
        other = await client.post("/v1/bookings", json=body(rider_id="bob"), headers=key_header("k2") | ANN)

    assert (same.status_code, other.status_code, other.json()["code"]) == (201, 403, "another_rider")
    assert len(suite.bookings) == 1


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        (STRANGER, [("x-rider-id", "ann")], (401, "rider_unauthenticated")),
        (STRANGER, [("x-rider-id", "ann"), ("x-forwarded-for", PROXY)], (401, "rider_unauthenticated")),
        (STRANGER, [], (401, "rider_unauthenticated")),
        ("::1", [("x-rider-id", "ann")], (401, "rider_unauthenticated")),
        (PROXY, [], (401, "rider_unauthenticated")),
        (PROXY, [("x_rider_id", "ann")], (401, "rider_unauthenticated")),
        (PROXY, [("x-rider-id", "ann"), ("X-Rider-Id", "bob")], (400, "repeated_header")),
        (PROXY, [("x-rider-id", "ann"), ("x-rider-id", "ann")], (400, "repeated_header")),
        (PROXY, [("x-rider-id", "ann, bob")], (400, "invalid_rider")),
        (PROXY, [("x-rider-id", "")], (400, "invalid_rider")),
        (PROXY, [("x-rider-id", "a" * 65)], (400, "invalid_rider")),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
async def test_nobody_is_believed_who_could_be_anybody(
    peer: str, headers: list[tuple[str, str]], expected: tuple[int, str], method: str
) -> None:
    suite = suite_behind_proxy()
    async with connect(suite) as client:
        made = await client.post("/v1/bookings", json=anonymous_body(), headers=key_header() | ANN)
    path = "/v1/bookings" if method == "POST" else made.headers["location"]
    content = anonymous_body() if method == "POST" else None
    async with connect(suite, peer) as client:
        response = await client.request(method, path, json=content, headers=[*key_header("k2").items(), *headers])

    assert (response.status_code, response.json()["code"]) == expected
    assert ("www-authenticate" in response.headers) is (response.status_code == 401)
    assert [booking.state for booking in suite.bookings.values()] == ["confirmed"]


@pytest.mark.parametrize("peer", [PROXY, f"::ffff:{PROXY}", "fd00::1"])
async def test_a_trusted_proxy_is_recognised_by_its_address(peer: str) -> None:
    async with connect(suite_behind_proxy(), peer) as client:
        response = await client.post("/v1/bookings", json=anonymous_body(), headers=key_header() | ANN)

    assert response.status_code == 201


async def test_the_quota_is_the_authenticated_riders() -> None:
    async with connect(suite_behind_proxy(rider_rate_per_s=0.001, rider_burst=1)) as client:
        statuses = [
            (await client.post("/v1/bookings", json=anonymous_body(), headers=key_header(key) | rider)).status_code
            for key, rider in (("k1", ANN), ("k2", ANN), ("k3", BOB))
        ]

    assert statuses == [201, 429, 201]


def test_no_proxy_is_trusted_without_networks() -> None:
    assert not RiderIdentity("X-Rider-Id", ())._is_trusted("127.0.0.1")
