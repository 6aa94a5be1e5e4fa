"""Booking's API over a real endpoint, in memory: what a rider gets."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prebook.booking.use_cases.book import RESPONSE_LEASE
from prebook.contracts.pricing import FareRefused
from prebook.contracts.ride import BookingState
from prebook.messaging.errors import Unreachable
from tests.booking.memory import MemoryBooking
from tests.booking.rides import Suite, body, book, held, inline, keyed, queued


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
        suite.clock.now += RESPONSE_LEASE
        third = await client.post("/v1/bookings", json=body(), headers=keyed())
        line.released.set()

    assert (second.status_code, second.json()["code"]) == (409, "request_in_progress")
    assert second.headers["retry-after"] == "1"
    assert (third.status_code, third.json()["state"]) == (202, "requested")  # the lease is over: it is rebuilt
    assert first.result().content == third.content  # and stays what this key is answered
    assert len(suite.bookings) == 1


async def test_a_key_whose_answer_is_forgotten_books_nothing_and_is_told_so() -> None:
    suite = Suite(queued())
    await book(suite)
    suite.database.tables.state.idempotency_records.clear()  # as its purge does, after a week
    response = await book(suite)

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_used")
    assert "8 days" in response.json()["detail"]
    assert len(suite.bookings) == 1


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

    assert ([entry["idempotency_key"] for entry in first["entries"]], first["next"]) == (["run-1", "run-2"], "run-2")
    assert ([entry["idempotency_key"] for entry in second["entries"]], second["next"]) == (["run-3"], None)


async def test_a_ledger_line_says_what_became_of_it() -> None:
    suite = Suite(inline())
    made = (await book(suite)).json()
    async with suite.client() as client:
        (line,) = (await client.get("/v1/ledger")).json()["entries"]

    assert (line["booking_id"], line["state"], line["fare_cents"]) == (made["id"], "confirmed", 2100)
    assert (line["fleet"], line["driver"], line["slot"]) == ("ada", "grace", "2030-05-02T08:00:00Z")
    assert (line["accepted_at"], line["settled_at"]) == ("2030-05-01T12:00:00Z", "2030-05-01T12:00:00Z")


async def test_a_rider_who_hangs_up_does_not_stop_the_booking() -> None:
    line = held()
    suite = Suite(line)
    async with suite.client() as client:
        rider = asyncio.create_task(client.post("/v1/bookings", json=body(), headers=keyed()))
        await asyncio.wait_for(line.arrived.wait(), 5)
        rider.cancel()
        line.released.set()
        async with asyncio.timeout(5):
            while not [b for b in suite.bookings.values() if b.state is BookingState.CONFIRMED]:
                await asyncio.sleep(0.01)
            while (await client.post("/v1/bookings", json=body(), headers=keyed())).status_code != 201:
                await asyncio.sleep(0.01)

    assert len(suite.bookings) == 1


async def test_a_booking_that_is_taken_in_is_not_refused_because_its_outcome_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suite = Suite(inline())

    async def gone(self: MemoryBooking, booking_id: str) -> None:
        raise Unreachable("the database has gone away")

    with monkeypatch.context() as away:
        away.setattr(MemoryBooking, "find", gone)
        first = await book(suite)
    suite.clock.now += RESPONSE_LEASE
    second = await book(suite)

    assert (first.status_code, first.json()["state"]) == (202, "requested")
    assert (second.status_code, second.json()["state"]) == (201, "confirmed")
    assert first.headers["location"] == second.headers["location"]
