"""Booking's API over a real endpoint, in memory."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prebook.booking.prebooking import LEASE
from prebook.contracts.booking import State
from prebook.contracts.pricing import FareRefused
from prebook.flows import FLOWS
from tests.booking.rides import NOW, Suite, body, held, inline, queued

JSON = {"content-type": "application/json"}


def keyed(key: str = "k1") -> dict[str, str]:
    return {"idempotency-key": key}


async def book(suite: Suite, *, key: str = "k1", **changes: Any) -> Any:
    async with suite.client() as client:
        return await client.post("/v1/bookings", json=body(**changes), headers=keyed(key))


async def test_answers_at_once_make_a_settled_booking() -> None:
    response = await book(Suite(inline()))

    view = response.json()
    assert (response.status_code, response.headers["location"]) == (201, f"/v1/bookings/{view['id']}")
    assert "retry-after" not in response.headers
    assert (view["state"], view["settled"], view["fare"]["cents"], view["driver"]["id"]) == (
        "confirmed",
        True,
        2100,
        "grace",
    )
    assert view["notified_at"] is not None


async def test_answers_to_come_make_an_accepted_booking() -> None:
    suite = Suite(queued())
    response = await book(suite)

    view = response.json()
    assert (response.status_code, response.headers["location"]) == (202, f"/v1/bookings/{view['id']}")
    assert response.headers["retry-after"] == "1"
    assert (view["state"], view["settled"], list(suite.bookings)) == ("requested", False, [view["id"]])
    assert [change["state"] for change in view["history"]] == ["requested"]


async def test_a_refused_fare_is_an_outcome_too() -> None:
    response = await book(Suite(inline(answers={"quote_fare": FareRefused(reason="too far")})))

    assert (response.status_code, response.json()["state"]) == (201, "rejected")


@pytest.mark.parametrize("line", [inline(), queued()])
async def test_the_same_request_again_has_the_same_response_and_no_other_booking(line: Any) -> None:
    suite = Suite(line)
    first = await book(suite)
    suite.clock.now += timedelta(hours=21)  # by now pickup_at has passed, and the provider is away
    suite.line.wait_s = 1.0
    second = await book(suite)

    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert len(suite.bookings) == 1


async def test_the_order_of_a_body_does_not_make_it_another_one() -> None:
    suite = Suite(queued())
    first = await book(suite)
    async with suite.client() as client:
        turned = dict(reversed(body().items()))
        second = await client.post("/v1/bookings", json=turned, headers=keyed())

    assert second.content == first.content


async def test_the_key_with_another_body_is_refused() -> None:
    suite = Suite(queued())
    await book(suite)
    response = await book(suite, passengers=3)

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert len(suite.bookings) == 1


async def test_a_key_whose_first_request_still_runs_has_to_wait() -> None:
    line = held()
    suite = Suite(line)
    async with suite.client() as client, asyncio.TaskGroup() as group:
        first = group.create_task(client.post("/v1/bookings", json=body(), headers=keyed()))
        await asyncio.wait_for(line.arrived.wait(), 5)
        second = await client.post("/v1/bookings", json=body(), headers=keyed())
        suite.clock.now += LEASE
        third = await client.post("/v1/bookings", json=body(), headers=keyed())
        line.released.set()

    assert (second.status_code, second.json()["code"]) == (409, "request_in_progress")
    assert second.headers["retry-after"] == "1"
    assert (third.status_code, third.json()["state"]) == (202, "requested")  # the lease is over: it is rebuilt
    assert first.result().content == third.content  # and stays what this key is answered
    assert len(suite.bookings) == 1


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
async def test_a_wrong_body_is_pointed_at_and_leaves_no_row(changes: dict[str, Any], status: int, pointer: str) -> None:
    suite = Suite(queued(), allow_plan_override=True)
    response = await book(suite, **changes)

    problem = response.json()
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
    assert (suite.bookings, suite.database.tables.outbox) == ({}, {})


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", keyed() | JSON, 400, "malformed_json"),
        (b"", keyed() | JSON, 400, "invalid_parameter"),
        (b"\xff\xfe", keyed() | JSON, 400, "malformed_json"),
        (b'{"rider_id": "\xff"}', keyed() | JSON, 400, "malformed_json"),
        (b'{"rider_id": NaN}', keyed() | JSON, 400, "malformed_json"),
        (b"[" * 60000, keyed() | JSON, 422, "invalid_body"),
        (b"[]", keyed() | JSON, 422, "invalid_body"),
        (b"{}", keyed() | {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", keyed() | {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        (b" " * 65537, keyed() | JSON, 413, "request_entity_too_large"),
        (b"{}", JSON, 400, "idempotency_key_missing"),
        (b"{}", keyed("") | JSON, 400, "idempotency_key_missing"),
        (b"{}", keyed("a b") | JSON, 400, "idempotency_key_invalid"),
        (b"{}", keyed("x" * 256) | JSON, 400, "idempotency_key_invalid"),
    ],
)
async def test_what_is_no_request_is_a_problem(content: bytes, headers: dict[str, str], status: int, code: str) -> None:
    async with Suite(queued()).client() as client:
        response = await client.post("/v1/bookings", content=content, headers=headers)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_longest_key_and_a_charset_are_taken() -> None:
    suite = Suite(queued())
    async with suite.client() as client:
        headers = keyed("~" * 255) | {"content-type": "application/json; charset=utf-8"}
        response = await client.post("/v1/bookings", json=body(), headers=headers)

    assert response.status_code == 202


async def test_couplings_only_where_they_are_allowed() -> None:
    wanted = {"find_driver": "one_way"}
    refused = await book(Suite(queued()), couplings=wanted)
    taken = await book(Suite(queued(), allow_plan_override=True), couplings=wanted)

    assert (refused.status_code, refused.json()["code"]) == (403, "plan_override_off")
    assert taken.json()["couplings"] == {**dict.fromkeys(FLOWS, "request_reply"), "find_driver": "one_way"}


async def test_a_provider_that_cannot_be_asked_refuses_before_anything_is_stored() -> None:
    suite = Suite(inline(wait_s=2.2))
    response = await book(suite)

    assert (response.status_code, response.json()["code"]) == (503, "pricing_unavailable")
    assert response.headers["retry-after"] == "3"
    assert suite.bookings == {}


async def test_a_listed_callback_is_stored() -> None:
    suite = Suite(queued())
    response = await book(suite, callback_url="https://hooks.example.com/told")

    stored = suite.database.tables.state.callback_urls
    assert stored == {response.json()["id"]: "https://hooks.example.com/told"}


async def test_a_booking_is_found_as_it_is_now() -> None:
    suite = Suite(inline())
    made = await book(suite)
    async with suite.client() as client:
        found = await client.get(made.headers["location"])

    assert (found.status_code, found.json()) == (200, made.json())


@pytest.mark.parametrize("booking_id", ["bk_none", "a%20b", "x" * 300, "%00", "%ff"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_what_is_not_there_is_not_found(method: str, booking_id: str) -> None:
    async with Suite(queued()).client() as client:
        response = await client.request(method, f"/v1/bookings/{booking_id}")

    assert (response.status_code, response.json()["code"]) == (404, "no_such_booking")


async def test_cancelling_a_confirmed_ride_compensates_once() -> None:
    suite = Suite(inline())
    made = await book(suite)
    async with suite.client() as client:
        first = await client.delete(made.headers["location"])
        second = await client.delete(made.headers["location"])

    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (second.status_code, second.json()) == (200, first.json())
    assert suite.facts == ["booking_confirmed", "booking_ended"]


async def test_cancelling_before_the_outcome_ends_the_booking() -> None:
    suite = Suite(queued())
    made = await book(suite)
    async with suite.client() as client:
        cancelled = await client.delete(made.headers["location"])

    assert [change["state"] for change in cancelled.json()["history"]] == ["requested", "cancelled"]
    assert suite.facts == ["booking_ended"]


async def test_what_is_over_cannot_be_cancelled() -> None:
    suite = Suite(inline(answers={"quote_fare": FareRefused(reason="too far")}))
    made = await book(suite)
    async with suite.client() as client:
        response = await client.delete(made.headers["location"])

    assert (response.status_code, response.json()["code"]) == (409, "booking_over")
    assert suite.facts == ["booking_ended"]


async def test_the_ledger_pages_by_key() -> None:
    suite = Suite(queued())
    for key in ("run-2", "run-1", "other", "run-3"):
        await book(suite, key=key)
    async with suite.client() as client:
        first = (await client.get("/v1/ledger", params={"prefix": "run-", "limit": 2})).json()
        second = (await client.get("/v1/ledger", params={"prefix": "run-", "after": first["next"], "limit": 2})).json()

    assert ([line["key"] for line in first["lines"]], first["next"]) == (["run-1", "run-2"], "run-2")
    assert ([line["key"] for line in second["lines"]], second["next"]) == (["run-3"], None)


async def test_a_ledger_line_says_what_became_of_it() -> None:
    suite = Suite(inline())
    made = (await book(suite)).json()
    async with suite.client() as client:
        (line,) = (await client.get("/v1/ledger")).json()["lines"]

    assert (line["booking_id"], line["state"], line["fare_cents"]) == (made["id"], "confirmed", 2100)
    assert (line["fleet"], line["driver"], line["slot"]) == ("ada", "grace", "2030-05-02T08:00:00Z")
    assert (line["accepted_at"], line["settled_at"]) == ("2030-05-01T12:00:00Z", "2030-05-01T12:00:00Z")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "prefix=%00", "after=a%20b"])
async def test_a_wrong_query_is_a_problem(query: str) -> None:
    async with Suite(queued()).client() as client:
        response = await client.get(f"/v1/ledger?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_parameter")


async def test_a_rider_who_hangs_up_does_not_stop_the_booking() -> None:
    line = held()
    suite = Suite(line)
    async with suite.client() as client:
        rider = asyncio.create_task(client.post("/v1/bookings", json=body(), headers=keyed()))
        await asyncio.wait_for(line.arrived.wait(), 5)
        rider.cancel()
        line.released.set()
        async with asyncio.timeout(5):
            while not [b for b in suite.bookings.values() if b.state is State.CONFIRMED]:
                await asyncio.sleep(0.01)
            while (await client.post("/v1/bookings", json=body(), headers=keyed())).status_code != 201:
                await asyncio.sleep(0.01)

    assert len(suite.bookings) == 1


async def test_the_openapi_description_says_what_is_refused() -> None:
    async with Suite(queued()).client() as client:
        document = (await client.get("/schema/openapi.json")).json()

    booking = document["paths"]["/v1/bookings"]["post"]
    schemas = document["components"]["schemas"]
    assert set(booking["responses"]) == {"201", "202", "400", "403", "409", "413", "415", "422", "429", "503"}
    assert list(booking["responses"]["422"]["content"]) == ["application/problem+json"]
    assert (schemas["BookingRequest"]["additionalProperties"], schemas["Place"]["additionalProperties"]) == (
        False,
        False,
    )
    (key,) = [p for p in booking["parameters"] if p["in"] == "header"]
    assert (key["name"], key["required"]) == ("Idempotency-Key", True)
