"""Fleets on a real PostgreSQL: what concurrent transactions may never do."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from asyncpg import UniqueViolationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.fleets.domain.fleet import RESERVATION_TTL
from prebook.fleets.sql import FleetsSql
from prebook.fleets.store import Reservation
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.postgres.unit_of_work import unit_of_work_factory
from tests.fleets.asks import NOW, SLOT

pytestmark = pytest.mark.real
DRIVERS = [f"ada-{number:04d}" for number in range(10)]
SOON, OVER = RESERVATION_TTL, RESERVATION_TTL + timedelta(seconds=1)


@pytest.fixture
async def begin(engine: AsyncEngine) -> BeginUnitOfWork[FleetsSql]:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM reservation"))
        await connection.execute(text("DELETE FROM unreadable_reply"))
    return unit_of_work_factory(engine, FleetsSql)


async def held(
    begin: BeginUnitOfWork[FleetsSql], booking_id: str, tried: Sequence[str], later: timedelta = timedelta(0)
) -> str | None:
    now = NOW + later
    async with begin() as work:
        return await work.reserve(
            Reservation(fleet="ada", slot=SLOT, booking_id=booking_id, now=now, expires_at=now + RESERVATION_TTL), tried
        )


async def test_forty_bookings_share_ten_drivers_without_holding_one_twice(begin: BeginUnitOfWork[FleetsSql]) -> None:
    """All try the drivers in the same order, so that each driver is fought for."""
    got = await asyncio.gather(*(held(begin, f"b{number}", DRIVERS) for number in range(40)))
    drivers = sorted(driver for driver in got if driver is not None)
    assert drivers == DRIVERS
    async with begin() as work:
        kept = (await work.connection.execute(text("SELECT driver FROM reservation"))).scalars()
        assert sorted(kept) == drivers


async def test_bookings_that_fight_for_the_same_drivers_all_find_one_while_there_are_enough(
    begin: BeginUnitOfWork[FleetsSql],
) -> None:
    """All look before any has taken: whoever loses a race must look again, as often as it takes."""
    everybody_looks = asyncio.Barrier(len(DRIVERS))

    async def fight(booking_id: str) -> str | None:
        async with begin() as work:
            await asyncio.wait_for(everybody_looks.wait(), 30)
            return await work.reserve(
                Reservation(fleet="ada", slot=SLOT, booking_id=booking_id, now=NOW, expires_at=NOW + RESERVATION_TTL),
                DRIVERS,
            )

    got = await asyncio.gather(*(fight(f"b{number}") for number in range(len(DRIVERS))))
    assert sorted(got, key=str) == DRIVERS


async def test_only_a_released_or_overdue_driver_can_be_held_again(begin: BeginUnitOfWork[FleetsSql]) -> None:
    tried = DRIVERS[:1]
    assert await held(begin, "b1", tried) == tried[0]
    assert await held(begin, "b2", tried, SOON) is None
    assert await held(begin, "b2", tried, OVER) == tried[0]
    async with begin() as work:
        await work.release("ada", tried[0], "b1")
    assert await held(begin, "b3", tried, OVER) is None, "what b1 lost is not b1's to release"
    async with begin() as work:
        await work.release("ada", tried[0], "b2")
    assert await held(begin, "b3", tried, OVER) == tried[0]


async def test_a_booked_driver_is_held_for_ever(begin: BeginUnitOfWork[FleetsSql]) -> None:
    tried = DRIVERS[:1]
    await held(begin, "b1", tried)
    async with begin() as work:
        await work.confirm("ada", tried[0], "b1")
        await work.confirm("ada", tried[0], "somebody else")
    assert await held(begin, "b2", tried, timedelta(days=1)) is None


async def test_overdue_holds_are_fought_for_as_free_ones_are(begin: BeginUnitOfWork[FleetsSql]) -> None:
    assert await held(begin, "b0", DRIVERS[:1]) is not None
    got = await asyncio.gather(*(held(begin, f"b{number}", DRIVERS[:1], OVER) for number in range(1, 13)))
    assert [driver for driver in got if driver is not None] == DRIVERS[:1]


async def test_a_second_hold_of_a_booking_is_an_error(begin: BeginUnitOfWork[FleetsSql]) -> None:
    await held(begin, "b1", DRIVERS)
    with pytest.raises(UniqueViolationError):
        await held(begin, "b1", DRIVERS)


async def test_an_unreadable_reply_is_kept_once(begin: BeginUnitOfWork[FleetsSql]) -> None:
    async with begin() as work:
        await work.record_unreadable("ada", "b1", "'<html>'")
        await work.record_unreadable("ada", "b1", "'again'")
        rows = await work.connection.execute(text("SELECT booking_id, fleet, excerpt FROM unreadable_reply"))
        assert [tuple(row) for row in rows] == [("b1", "ada", "'<html>'")]
