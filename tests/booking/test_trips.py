"""Trips over the store, in memory and on PostgreSQL: API, transactions, concurrency."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.booking.sql.work import BookingSql
from prebook.booking.store import BookingWork, LedgerPosition
from prebook.booking.use_cases.trip_deadlines import TripDeadlines
from prebook.contracts.events import LegSettled
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState
from prebook.contracts.trip import LegOutcome, TripState
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.unit_of_work import BeginUnitOfWork
from tests.booking.booking_suite import NOW, PLAN, BookingSuite, body, key_header
from tests.world import leg_of

LEG = leg_of(body())
CONFIRMED = LegOutcome(state=BookingState.CONFIRMED)
REJECTED = LegOutcome(state=BookingState.REJECTED, reason="no fare: too far")


def trip_body(*legs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"rider_id": "rosa", "legs": list(legs or (LEG, LEG, LEG)), **changes}


async def post_trip(client: httpx.AsyncClient, key: str = "k1", **changes: Any) -> httpx.Response:
    return await client.post("/v1/trips", json=trip_body(**changes), headers=key_header(key))


async def settle(suite: BookingSuite, trip: dict[str, Any], number: int, outcome: LegOutcome) -> None:
    """Deliver the outcome of a leg."""
    settled = LegSettled(leg=number, booking_id=trip["legs"][number - 1]["id"], outcome=outcome)
    envelope = Envelope(
        id=f"{trip['id']}.leg_settled.{number}",
        kind=MessageKind.EVENT,
        flow="leg_settled",
        body=settled,
        source="booking",
        conversation_id=trip["id"],
        time=NOW,
        plan=PLAN,
    )
    await suite.assembled.gateway.process(envelope)


@pytest.fixture
def suite(begin: BeginUnitOfWork[BookingWork]) -> BookingSuite:
    """Booking on its own; no provider replies."""
    return BookingSuite(begin=begin)


async def test_a_trip_is_stored_with_its_legs_and_their_requests(
    suite: BookingSuite, begin: BeginUnitOfWork[BookingWork]
) -> None:
    async with suite.client() as client:
        response = await post_trip(client, policy="partial", deadline_s=60)
        found = await client.get(response.headers["location"])
    trip = response.json()
    async with begin() as work:
        outstanding = await work.list_outstanding([f"{leg['id']}.quote_fare" for leg in trip["legs"]])
        (stored,) = await work.read_trip_ledger("", LedgerPosition("", ""), 10)

    assert (response.status_code, response.headers["retry-after"]) == (202, "1")
    assert (trip["state"], trip["settled"], trip["policy"], trip["deadline_s"]) == ("requested", False, "partial", 60.0)
    assert [(leg["leg"], leg["trip_id"], leg["state"]) for leg in trip["legs"]] == [
        (number, trip["id"], "requested") for number in (1, 2, 3)
    ]
    assert (found.status_code, found.json()) == (200, trip)
    assert len(outstanding) == 3
    assert (stored.id, stored.legs.size, stored.rider_key) == (trip["id"], 3, ("rosa", "k1"))


async def test_a_repeated_request_gets_the_stored_response(suite: BookingSuite) -> None:
    async with suite.client() as client:
        first = await post_trip(client)
        await settle(suite, first.json(), 1, REJECTED)
        suite.clock.now += timedelta(days=2)  # the pickup has passed: a new request would be refused
        second = await post_trip(client)
        other = await post_trip(client, policy="partial")
        refused = await post_trip(client, key="k2")

    assert (second.status_code, second.content, second.headers["location"]) == (
        first.status_code,
        first.content,
        first.headers["location"],
    )
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_trip")


async def test_twenty_requests_with_one_key_make_one_trip(
    suite: BookingSuite, begin: BeginUnitOfWork[BookingWork]
) -> None:
    async with suite.client() as client:
        responses = await asyncio.gather(*(post_trip(client) for _ in range(20)))
    async with begin() as work:
        trips = await work.read_trip_ledger("", LedgerPosition("", ""), 100)
        bookings = await work.read_ledger("", LedgerPosition("", ""), 100)

    assert Counter(response.status_code for response in responses) == {202: 20}
    assert len({response.content for response in responses}) == 1
    assert (len(trips), len(bookings)) == (1, 3)


async def test_a_trip_and_a_booking_may_have_equal_keys(suite: BookingSuite) -> None:
    async with suite.client() as client:
        booking = await client.post("/v1/bookings", json=body(), headers=key_header("k1"))
        trip = await post_trip(client, key="k1")
        again = await client.post("/v1/bookings", json=body(), headers=key_header("k1"))

    assert (booking.status_code, trip.status_code, again.content) == (202, 202, booking.content)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
async def test_legs_that_settle_at_once_complete_the_trip_once(suite: BookingSuite, order: tuple[int, ...]) -> None:
    async with suite.client() as client:
        trip = (await post_trip(client)).json()
        await asyncio.gather(*(settle(suite, trip, number, CONFIRMED) for number in order * 2))
        settled = (await client.get(f"/v1/trips/{trip['id']}")).json()

    assert [change["state"] for change in settled["history"]] == ["requested", "confirmed"]
    assert settled["completed_by"] == "all_legs"


async def test_a_leg_that_is_not_confirmed_cancels_the_other_legs_in_the_same_transaction(suite: BookingSuite) -> None:
    async with suite.client() as client:
        trip = (await post_trip(client)).json()
        await settle(suite, trip, 3, CONFIRMED)
        await settle(suite, trip, 2, REJECTED)
        await settle(suite, trip, 1, CONFIRMED)  # late
        settled = (await client.get(f"/v1/trips/{trip['id']}")).json()

    assert (settled["state"], settled["completed_by"]) == ("rejected", "failed_leg")
    assert settled["reason"] == "leg 2: no fare: too far"
    assert {(leg["state"], leg["reason"]) for leg in settled["legs"]} == {("cancelled", "the trip is rejected")}


async def test_a_trip_is_cancelled_until_its_first_pickup(
    suite: BookingSuite, begin: BeginUnitOfWork[BookingWork]
) -> None:
    async with suite.client() as client:
        trip = (await post_trip(client)).json()
        first = await client.delete(f"/v1/trips/{trip['id']}")
        second = await client.delete(f"/v1/trips/{trip['id']}")
        late = (await post_trip(client, key="k2")).json()
        await settle(suite, late, 1, REJECTED)
        over = await client.delete(f"/v1/trips/{late['id']}")

    assert (first.status_code, first.json()["state"], first.json()["completed_by"]) == (200, "cancelled", "cancelled")
    assert {leg["state"] for leg in first.json()["legs"]} == {"cancelled"}
    assert second.json() == first.json()
    assert (over.status_code, over.json()["code"]) == (409, "trip_over")
    async with begin() as work:
        assert {leg.state for leg in await work.find_legs(trip["id"])} == {BookingState.CANCELLED}


async def test_a_trip_whose_first_pickup_has_passed_is_not_cancelled() -> None:
    suite = BookingSuite()
    early = {**LEG, "pickup_at": (NOW + timedelta(hours=1)).isoformat()}
    async with suite.client() as client:
        trip = (await client.post("/v1/trips", json=trip_body(early, LEG), headers=key_header())).json()
        for number in (1, 2):
            await settle(suite, trip, number, CONFIRMED)
        suite.clock.now += timedelta(hours=1, seconds=1)
        response = await client.delete(f"/v1/trips/{trip['id']}")
        found = (await client.get(f"/v1/trips/{trip['id']}")).json()

    assert (response.status_code, response.json()["code"]) == (409, "pickup_has_passed")
    assert "2030-05-01T13:00:00Z" in response.json()["detail"]
    assert found["state"] == "confirmed"


async def test_the_deadline_of_a_trip_is_no_later_than_its_first_pickup() -> None:
    suite = BookingSuite()
    early = {**LEG, "pickup_at": (NOW + timedelta(seconds=30)).isoformat()}
    async with suite.client() as client:
        trip = (await client.post("/v1/trips", json=trip_body(early, LEG), headers=key_header())).json()

    assert trip["deadline_s"] == 30.0


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"legs": [LEG]}, "/legs"),
        ({"legs": [LEG] * 9}, "/legs"),
        ({"legs": [LEG, {**LEG, "passengers": "2"}]}, "/legs/1/passengers"),
        ({"legs": [LEG, {**LEG, "rider_id": "rosa"}]}, "/legs/1/rider_id"),
        ({"legs": [LEG, {**LEG, "dropoff": LEG["pickup"]}]}, "/legs/1/dropoff"),
        ({"legs": [LEG, {**LEG, "pickup_at": "2030-05-02T08:06:59Z"}]}, "/legs/1/pickup_at"),
        ({"legs": [{**LEG, "pickup_at": "2020-01-01T00:00:00Z"}, LEG]}, "/legs/0/pickup_at"),
        ({"policy": "most"}, "/policy"),
        ({"deadline_s": 0.5}, "/deadline_s"),
        ({"callback_url": "https://elsewhere.example/"}, "/callback_url"),
        ({"colour": "red"}, "/colour"),
    ],
)
async def test_an_invalid_trip_is_refused_and_the_field_is_named(change: dict[str, Any], pointer: str) -> None:
    suite = BookingSuite()
    async with suite.client() as client:
        response = await post_trip(client, **change)

    assert response.status_code == 422, response.text
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]
    assert not suite.bookings


async def test_a_trip_without_a_key_is_refused() -> None:
    async with BookingSuite().client() as client:
        response = await client.post("/v1/trips", json=trip_body())

    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_missing")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("trip_id", ["tr_none", "bk_1", "a%20b", "x" * 300])
async def test_an_unknown_trip_is_not_found(method: str, trip_id: str) -> None:
    async with BookingSuite().client() as client:
        response = await client.request(method, f"/v1/trips/{trip_id}")

    assert (response.status_code, response.json()["code"]) == (404, "no_such_trip")


async def test_another_rider_s_trip_is_not_found() -> None:
    suite = BookingSuite(rider_header="x-rider", trusted_proxies=("127.0.0.1",))
    async with suite.client() as client:
        trip = await client.post("/v1/trips", json=trip_body(), headers={**key_header(), "x-rider": "rosa"})
        others = [
            await client.request(method, trip.headers["location"], headers={"x-rider": "eve"})
            for method in ("GET", "DELETE")
        ]
        own = await client.get(trip.headers["location"], headers={"x-rider": "rosa"})

    assert [(response.status_code, response.json()["code"]) for response in others] == [(404, "no_such_trip")] * 2
    assert own.json()["state"] == "requested"


async def test_an_overdue_trip_is_settled_once_by_the_scan() -> None:
    suite = BookingSuite()
    async with suite.client() as client:
        trip = (await post_trip(client, policy="partial", deadline_s=60)).json()
        await settle(suite, trip, 1, CONFIRMED)
        deadlines = TripDeadlines(suite.assembled.context)
        assert await deadlines.settle_overdue() == 0
        suite.clock.now += timedelta(seconds=60)
        assert await deadlines.settle_overdue() == 1
        assert await deadlines.settle_overdue() == 0
        settled = (await client.get(f"/v1/trips/{trip['id']}")).json()

    assert (settled["state"], settled["completed_by"]) == ("partly_confirmed", "deadline")
    assert [leg["state"] for leg in settled["legs"]] == ["requested", "cancelled", "cancelled"]


@pytest.mark.real
async def test_replicas_settle_overdue_trips_once(engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql]) -> None:
    suite = BookingSuite(begin=begin_sql)
    async with suite.client() as client:
        trips = [(await post_trip(client, key=f"k{n}")).json() for n in range(5)]
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE trip SET due_at = now() WHERE key <> 'k0'"))
        scans = [TripDeadlines(suite.assembled.context) for _ in range(3)]
        await asyncio.gather(*(scan.settle_overdue() for scan in scans))
        settled = [(await client.get(f"/v1/trips/{trip['id']}")).json() for trip in trips]

    assert [trip["state"] for trip in settled] == [TripState.REQUESTED] + [TripState.EXPIRED] * 4
    assert {len(trip["history"]) for trip in settled[1:]} == {2}
    async with engine.connect() as connection:
        notices = (await connection.execute(text("SELECT count(*) FROM outbox WHERE flow = 'notify_rider'"))).scalar()
    assert notices == 4


@pytest.mark.real
async def test_a_deadline_and_the_last_leg_at_once_settle_the_trip_once(
    engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql]
) -> None:
    suite = BookingSuite(begin=begin_sql)
    deadlines = TripDeadlines(suite.assembled.context)
    async with suite.client() as client:
        trips = [(await post_trip(client, key=f"k{n}")).json() for n in range(10)]
        for trip in trips:
            await settle(suite, trip, 1, CONFIRMED)
            await settle(suite, trip, 2, CONFIRMED)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE trip SET due_at = now()"))
        await asyncio.gather(deadlines.settle_overdue(), *(settle(suite, trip, 3, CONFIRMED) for trip in trips))
        settled = [(await client.get(f"/v1/trips/{trip['id']}")).json() for trip in trips]

    for trip in settled:
        legs = {leg["state"] for leg in trip["legs"]}
        assert (trip["state"], trip["completed_by"], legs) in [
            ("confirmed", "all_legs", {"requested"}),
            ("expired", "deadline", {"cancelled"}),
        ]


async def test_campaign_tokens_are_taken_for_every_leg() -> None:
    suite = BookingSuite(campaign_tokens=4)
    async with suite.client() as client:
        first = await post_trip(client)
        second = await post_trip(client, key="k2")
        booking = await client.post("/v1/bookings", json=body(), headers=key_header("k3"))

    assert (first.status_code, second.status_code, booking.status_code) == (202, 503, 202)
    assert second.json()["code"] == "campaign_window_full"
    assert len(suite.database.tables.state.trips) == 1


async def test_an_unavailable_provider_refuses_a_trip() -> None:
    suite = BookingSuite(Coupling.SYNC_API)
    await suite.open_circuit()
    async with suite.client() as client:
        response = await post_trip(client)

    assert (response.status_code, response.json()["code"]) == (503, "pricing_unavailable")


async def test_a_trip_by_inline_calls_is_accepted_before_they_are_done() -> None:
    suite = BookingSuite(Coupling.SYNC_API)
    async with suite.client() as client:
        response = await post_trip(client)
        await suite.assembled.context.tasks.wait(5)
        found = (await client.get(response.headers["location"])).json()

    assert (response.status_code, response.json()["state"]) == (202, "requested")
    assert [leg["state"] for leg in found["legs"]] == ["confirmed"] * 3
    assert found["state"] == "requested"  # the outcomes of the legs are still on their way
