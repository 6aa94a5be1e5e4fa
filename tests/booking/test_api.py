"""Booking's API over an in-memory store: responses to riders."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prebook.booking.use_cases import book as book_module
from prebook.booking.use_cases.book import RESPONSE_LEASE
from prebook.contracts.plan import Coupling
from prebook.contracts.pricing import FareRefused
from prebook.contracts.ride import BookingState
from prebook.messaging.errors import Unreachable
from tests.booking.booking_suite import (
    RIDE,
    BlockingProviders,
    BookingSuite,
    Providers,
    body,
    book,
    key_header,
)
from tests.booking.memory import MemoryBooking
from tests.conditions import poll_until

REFUSING = Providers({"quote_fare": FareRefused(reason="too far")})


async def test_inline_replies_make_a_settled_booking() -> None:
    response = await book(BookingSuite(Coupling.SYNC_API))

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


async def test_queued_requests_make_an_accepted_booking() -> None:
    suite = BookingSuite()
    response = await book(suite)

    view = response.json()
    assert (response.status_code, response.headers["location"]) == (202, f"/v1/bookings/{view['id']}")
    assert response.headers["retry-after"] == "1"
    assert (view["state"], view["settled"], list(suite.bookings)) == ("requested", False, [view["id"]])
    assert [change["state"] for change in view["history"]] == ["requested"]


async def test_a_refused_fare_settles_the_booking() -> None:
    response = await book(BookingSuite(Coupling.SYNC_API, providers=REFUSING))

    assert (response.status_code, response.json()["state"]) == (201, "rejected")


@pytest.mark.parametrize("coupling", [Coupling.SYNC_API, Coupling.REQUEST_REPLY])
async def test_a_repeated_request_gets_the_stored_response(coupling: Coupling) -> None:
    suite = BookingSuite(coupling)
    first = await book(suite)
    suite.clock.now += timedelta(hours=21)  # pickup_at has passed, and the provider is unavailable
    await suite.open_circuit()
    second = await book(suite)

    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert len(suite.bookings) == 1


async def test_the_member_order_of_a_body_does_not_matter() -> None:
    suite = BookingSuite()
    first = await book(suite)
    async with suite.client() as client:
        reordered = dict(reversed(body().items()))
        second = await client.post("/v1/bookings", json=reordered, headers=key_header())

    assert second.content == first.content


async def test_a_key_with_another_body_is_refused() -> None:
    suite = BookingSuite()
    await book(suite)
    response = await book(suite, passengers=3)

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert len(suite.bookings) == 1


async def test_a_key_whose_first_request_is_running_gets_409_until_its_lease_ends() -> None:
    providers = BlockingProviders()
    suite = BookingSuite(Coupling.SYNC_API, providers=providers)
    async with suite.client() as client, asyncio.TaskGroup() as group:
        first = group.create_task(client.post("/v1/bookings", json=body(), headers=key_header()))
        await asyncio.wait_for(providers.arrived.wait(), 5)
        second = await client.post("/v1/bookings", json=body(), headers=key_header())
        suite.clock.now += RESPONSE_LEASE
        third = await client.post("/v1/bookings", json=body(), headers=key_header())
        providers.released.set()

    assert (second.status_code, second.json()["code"]) == (409, "request_in_progress")
    assert second.headers["retry-after"] == "1"
    assert (third.status_code, third.json()["state"]) == (
        202,
        "requested",
    )  # the lease has ended: the response is built again
    assert first.result().content == third.content  # and stored for this key
    assert len(suite.bookings) == 1


async def test_a_key_without_a_stored_response_is_refused_as_used() -> None:
    suite = BookingSuite()
    await book(suite)
    suite.database.tables.state.idempotency_records.clear()  # as the purge does
    response = await book(suite)

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_used")
    assert "8 days" in response.json()["detail"]
    assert len(suite.bookings) == 1


async def test_a_booking_is_readable_at_its_location() -> None:
    suite = BookingSuite(Coupling.SYNC_API)
    made = await book(suite)
    async with suite.client() as client:
        found = await client.get(made.headers["location"])

    assert (found.status_code, found.json()) == (200, made.json())


@pytest.mark.parametrize("booking_id", ["bk_none", "a%20b", "x" * 300, "%00", "%ff"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_or_malformed_id_is_not_found(method: str, booking_id: str) -> None:
    async with BookingSuite().client() as client:
        response = await client.request(method, f"/v1/bookings/{booking_id}")

    assert (response.status_code, response.json()["code"]) == (404, "no_such_booking")


async def test_cancelling_a_confirmed_ride_compensates_once() -> None:
    suite = BookingSuite(Coupling.SYNC_API)
    made = await book(suite)
    async with suite.client() as client:
        first = await client.delete(made.headers["location"])
        second = await client.delete(made.headers["location"])

    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (second.status_code, second.json()) == (200, first.json())
    assert suite.event_types == ["booking_confirmed", "booking_ended"]


async def test_cancelling_before_the_outcome_ends_the_booking() -> None:
    suite = BookingSuite()
    made = await book(suite)
    async with suite.client() as client:
        cancelled = await client.delete(made.headers["location"])

    assert [change["state"] for change in cancelled.json()["history"]] == ["requested", "cancelled"]
    assert suite.event_types == ["booking_ended"]


async def test_a_booking_that_is_over_cannot_be_cancelled() -> None:
    suite = BookingSuite(Coupling.SYNC_API, providers=REFUSING)
    made = await book(suite)
    async with suite.client() as client:
        response = await client.delete(made.headers["location"])

    assert (response.status_code, response.json()["code"]) == (409, "booking_over")
    assert suite.event_types == ["booking_ended"]


@pytest.mark.parametrize("coupling", [Coupling.SYNC_API, Coupling.REQUEST_REPLY])
async def test_a_booking_cannot_be_cancelled_after_its_pickup(coupling: Coupling) -> None:
    suite = BookingSuite(coupling)
    made = await book(suite)
    before = made.json()
    events = suite.event_types
    suite.clock.now = RIDE.pickup_at + timedelta(microseconds=1)
    async with suite.client() as client:
        refused = await client.delete(made.headers["location"])
        view = (await client.get(made.headers["location"])).json()

    assert (refused.status_code, refused.json()["code"]) == (409, "pickup_has_passed")
    assert (view["state"], view["history"]) == (before["state"], before["history"])
    assert suite.event_types == events


async def test_a_booking_can_be_cancelled_until_its_pickup_and_the_result_stays() -> None:
    suite = BookingSuite(Coupling.SYNC_API)
    made = await book(suite)
    async with suite.client() as client:
        suite.clock.now = RIDE.pickup_at
        at_pickup = await client.delete(made.headers["location"])
        suite.clock.now = RIDE.pickup_at + timedelta(days=1)
        repeated = await client.delete(made.headers["location"])

    assert (at_pickup.status_code, at_pickup.json()["state"]) == (200, "cancelled")
    assert (repeated.status_code, repeated.json()) == (200, at_pickup.json())


async def test_the_api_description_states_until_when_a_booking_can_be_cancelled() -> None:
    async with BookingSuite().client() as client:
        paths = (await client.get("/schema/openapi.json")).json()["paths"]

    assert "409 `pickup_has_passed`" in paths["/v1/bookings/{booking_id}"]["delete"]["description"]


async def test_the_ledger_is_paged_by_key() -> None:
    suite = BookingSuite()
    for key in ("run-2", "run-1", "other", "run-3"):
        await book(suite, key=key)
    async with suite.console() as client:
        first = (await client.get("/v1/ledger", params={"prefix": "run-", "limit": 2})).json()
        second = (await client.get("/v1/ledger", params={"prefix": "run-", "after": first["next"], "limit": 2})).json()

    assert ([entry["idempotency_key"] for entry in first["entries"]], len(first["entries"])) == (["run-1", "run-2"], 2)
    assert ([entry["idempotency_key"] for entry in second["entries"]], second["next"]) == (["run-3"], None)


async def test_a_ledger_entry_shows_the_outcome_of_its_booking() -> None:
    suite = BookingSuite(Coupling.SYNC_API)
    made = (await book(suite)).json()
    async with suite.console() as client:
        (entry,) = (await client.get("/v1/ledger")).json()["entries"]

    assert (entry["booking_id"], entry["state"], entry["fare_cents"]) == (made["id"], "confirmed", 2100)
    assert (entry["fleet"], entry["driver"], entry["slot"]) == ("ada", "grace", "2030-05-02T08:00:00Z")
    assert (entry["accepted_at"], entry["settled_at"]) == ("2030-05-01T12:00:00Z", "2030-05-01T12:00:00Z")


async def test_a_disconnected_rider_does_not_stop_the_booking() -> None:
    providers = BlockingProviders()
    suite = BookingSuite(Coupling.SYNC_API, providers=providers)
    async with suite.client() as client:
        rider = asyncio.create_task(client.post("/v1/bookings", json=body(), headers=key_header()))
        await asyncio.wait_for(providers.arrived.wait(), 5)
        rider.cancel()
        providers.released.set()
        async with asyncio.timeout(5):
            while not [b for b in suite.bookings.values() if b.state is BookingState.CONFIRMED]:
                await asyncio.sleep(0.01)
            while (await client.post("/v1/bookings", json=body(), headers=key_header())).status_code != 201:
                await asyncio.sleep(0.01)

    assert len(suite.bookings) == 1


async def test_a_stored_booking_is_accepted_even_if_its_outcome_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suite = BookingSuite(Coupling.SYNC_API)

    async def find(self: MemoryBooking, booking_id: str) -> None:
        raise Unreachable("the database is unavailable")

    with monkeypatch.context() as away:
        away.setattr(MemoryBooking, "find", find)
        first = await book(suite)
    suite.clock.now += RESPONSE_LEASE
    second = await book(suite)

    assert (first.status_code, first.json()["state"]) == (202, "requested")
    assert (second.status_code, second.json()["state"]) == (201, "confirmed")
    assert first.headers["location"] == second.headers["location"]


async def test_a_rider_whose_providers_are_slow_is_answered_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "RESPONSE_TIMEOUT_S", 0.1)
    providers = BlockingProviders()
    suite = BookingSuite(Coupling.SYNC_API, providers=providers)
    slow = await book(suite)
    providers.released.set()

    async def has_settled_response() -> bool:
        return bool((await book(suite)).status_code == 201)

    await poll_until(has_settled_response)
    again = await book(suite)

    assert (slow.status_code, slow.json()["state"]) == (202, "requested")
    assert (again.status_code, again.json()["state"]) == (201, "confirmed")
    assert slow.headers["location"] == again.headers["location"]


async def test_a_rider_whose_booking_is_not_stored_in_time_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(book_module, "RESPONSE_TIMEOUT_S", 0.1)
    suite = BookingSuite(Coupling.ONE_WAY)
    released = asyncio.Event()
    create = MemoryBooking.create

    async def create_slowly(self: MemoryBooking, *arguments: Any) -> None:
        await released.wait()
        await create(self, *arguments)

    monkeypatch.setattr(MemoryBooking, "create", create_slowly)
    slow = await book(suite)
    released.set()

    async def is_stored() -> bool:
        return len(suite.bookings) == 1

    await poll_until(is_stored)
    monkeypatch.undo()
    again = await book(suite)

    assert (slow.status_code, slow.json()["code"]) == (503, "response_timeout")
    assert int(slow.headers["retry-after"]) >= 1
    assert again.status_code == 202
    assert len(suite.bookings) == 1, "the repeated request gets the booking of the first"
