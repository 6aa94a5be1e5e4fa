"""Booking's API on PostgreSQL: concurrent requests."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.booking.sql.work import BookingSql
from prebook.contracts.plan import Coupling
from prebook.messaging.unit_of_work import BeginUnitOfWork
from tests.booking.booking_suite import BookingSuite, body

pytestmark = pytest.mark.real
KEY = {"idempotency-key": "k1"}
TABLES = ("booking", "idempotency_record", "outbox", "pending_reply")


async def count_rows(engine: AsyncEngine, table: str) -> int:
    async with engine.connect() as connection:
        found: int = (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar_one()  # noqa: S608
        return found


@pytest.mark.parametrize("coupling", [Coupling.SYNC_API, Coupling.REQUEST_REPLY])
async def test_fifty_requests_with_one_key_make_one_booking(
    engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql], coupling: Coupling
) -> None:
    suite = BookingSuite(coupling, begin=begin_sql)
    async with suite.client() as client:
        responses = await asyncio.gather(*(client.post("/v1/bookings", json=body(), headers=KEY) for _ in range(50)))
        last = await client.post("/v1/bookings", json=body(), headers=KEY)

    statuses = Counter(response.status_code for response in responses)
    assert statuses.keys() <= {last.status_code, 409}
    assert {response.content for response in responses if response.status_code != 409} == {last.content}
    assert all(response.headers["retry-after"] == "1" for response in responses if response.status_code == 409)
    assert (await count_rows(engine, "booking"), await count_rows(engine, "idempotency_record")) == (1, 1)


async def test_a_booking_and_its_request_are_stored_together(
    engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql]
) -> None:
    async with BookingSuite(begin=begin_sql).client() as client:
        await client.post("/v1/bookings", json=body(), headers=KEY)

    assert [await count_rows(engine, table) for table in TABLES] == [1, 1, 1, 1]


async def test_an_invalid_request_stores_nothing(engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql]) -> None:
    async with BookingSuite(begin=begin_sql).client() as client:
        response = await client.post("/v1/bookings", json=body(pickup_at="2020-01-01T00:00:00Z"), headers=KEY)

    assert response.status_code == 422
    assert [await count_rows(engine, table) for table in TABLES] == [0, 0, 0, 0]


async def test_twenty_cancellations_compensate_once(
    engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql]
) -> None:
    async with BookingSuite(Coupling.SYNC_API, begin=begin_sql).client() as client:
        made = await client.post("/v1/bookings", json=body(), headers=KEY)
        ended = await asyncio.gather(*(client.delete(made.headers["location"]) for _ in range(20)))

    assert {(response.status_code, response.json()["state"]) for response in ended} == {(200, "cancelled")}
    async with engine.connect() as connection:
        events = (await connection.execute(text("SELECT flow FROM outbox WHERE kind = 'event' ORDER BY seq"))).scalars()
        assert list(events) == ["booking_confirmed", "booking_ended"]


async def test_the_plan_is_stored_with_the_booking(engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql]) -> None:
    request = {"find_driver": Coupling.ONE_WAY.value}
    async with BookingSuite(begin=begin_sql, allow_plan_override=True).client() as client:
        made = await client.post("/v1/bookings", json=body(couplings=request), headers=KEY)
        found = await client.get(made.headers["location"])

    assert found.json() == made.json()
    assert found.json()["couplings"]["find_driver"] == "one_way"


@pytest.mark.parametrize(
    "change", ["state = 'lost'", "state = 'confirmed'", "passengers = 0", "pickup_lat = 91", "fare_cents = -1"]
)
async def test_the_table_refuses_impossible_values(
    engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql], change: str
) -> None:
    async with BookingSuite(begin=begin_sql).client() as client:
        await client.post("/v1/bookings", json=body(), headers=KEY)

    with pytest.raises(IntegrityError):
        async with engine.begin() as connection:
            await connection.execute(text(f"UPDATE booking SET {change}"))  # noqa: S608 - from the lines above
