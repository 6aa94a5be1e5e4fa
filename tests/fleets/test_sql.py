"""Fleets on PostgreSQL: concurrent transactions."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from asyncpg import UniqueViolationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.fleets.domain.fleet import RESERVATION_TTL, covered_slots
from prebook.fleets.sql import FleetsSql
from prebook.fleets.store import Reservation
from prebook.flows import ASK_FLEET
from prebook.messaging.envelope import Envelope, message_id
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.postgres.unit_of_work import unit_of_work_factory
from tests.fleets.requests import NOW, PICKUP_AT, SLOT, unreadable_reply
from tests.messaging.examples import request

pytestmark = pytest.mark.real
DRIVERS = [f"ada-{number:04d}" for number in range(10)]
BEFORE_EXPIRY = RESERVATION_TTL
AFTER_EXPIRY = RESERVATION_TTL + timedelta(seconds=1)


@pytest.fixture
async def begin(engine: AsyncEngine) -> BeginUnitOfWork[FleetsSql]:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM reservation"))
        await connection.execute(text("DELETE FROM unreadable_reply"))
    return unit_of_work_factory(engine, FleetsSql)


async def reserve(
    begin: BeginUnitOfWork[FleetsSql],
    booking_id: str,
    candidates: Sequence[str],
    elapsed: timedelta = timedelta(0),
    slots: Sequence[datetime] = (SLOT,),
) -> str | None:
    now = NOW + elapsed
    async with begin() as work:
        return await work.reserve(
            Reservation(fleet="ada", slots=slots, booking_id=booking_id, now=now, expires_at=now + RESERVATION_TTL),
            candidates,
        )


async def test_forty_concurrent_bookings_reserve_ten_drivers_once_each(begin: BeginUnitOfWork[FleetsSql]) -> None:
    """All bookings try the drivers in the same order, so that all compete for each driver."""
    drivers_reserved = await asyncio.gather(*(reserve(begin, f"b{number}", DRIVERS) for number in range(40)))
    drivers = sorted(driver for driver in drivers_reserved if driver is not None)
    assert drivers == DRIVERS
    async with begin() as work:
        stored = (await work.connection.execute(text("SELECT driver FROM reservation"))).scalars()
        assert sorted(stored) == drivers


async def test_concurrent_bookings_each_reserve_a_driver_while_enough_are_free(
    begin: BeginUnitOfWork[FleetsSql],
) -> None:
    """All transactions start before the first reserves: a booking that loses a race must try again."""
    all_have_started = asyncio.Barrier(len(DRIVERS))

    async def compete(booking_id: str) -> str | None:
        async with begin() as work:
            await asyncio.wait_for(all_have_started.wait(), 30)
            return await work.reserve(
                Reservation(
                    fleet="ada", slots=[SLOT], booking_id=booking_id, now=NOW, expires_at=NOW + RESERVATION_TTL
                ),
                DRIVERS,
            )

    drivers_reserved = await asyncio.gather(*(compete(f"b{number}") for number in range(len(DRIVERS))))
    assert sorted(drivers_reserved, key=str) == DRIVERS


async def test_no_driver_is_reserved_for_overlapping_rides_at_once(begin: BeginUnitOfWork[FleetsSql]) -> None:
    """300 pairs: the first ride covers 8:20 to 8:45, the second 8:40 to 9:05, which begins in another slot."""
    pairs = 300

    async def compete(number: int, delay_minutes: int) -> str | None:
        pickup_at = PICKUP_AT + timedelta(days=number, minutes=delay_minutes)
        slots = covered_slots(pickup_at, 25)
        return await reserve(begin, f"b{number}-{delay_minutes}", DRIVERS[:2], slots=slots)

    drivers = await asyncio.gather(*(compete(number, delay) for number in range(pairs) for delay in (0, 20)))
    assert [set(pair) for pair in zip(drivers[::2], drivers[1::2], strict=True)] == [set(DRIVERS[:2])] * pairs
    async with begin() as work:
        counts = text("SELECT count(*), count(DISTINCT booking_id) FROM reservation")
        (found,) = await work.connection.execute(counts)
        assert tuple(found) == (pairs * (2 + 3), pairs * 2)


async def test_a_booking_that_loses_one_slot_keeps_none(begin: BeginUnitOfWork[FleetsSql]) -> None:
    """The winner commits between the loser's choice of the driver and its insert."""
    slots = covered_slots(PICKUP_AT, 60)
    begun = asyncio.Event()

    async def win() -> None:
        async with begin() as work:
            last = Reservation(
                fleet="ada", slots=slots[-1:], booking_id="winner", now=NOW, expires_at=NOW + RESERVATION_TTL
            )
            assert await work.reserve(last, DRIVERS[:1]) == DRIVERS[0]
            begun.set()
            await asyncio.sleep(0.5)

    winner = asyncio.create_task(win())
    await asyncio.wait_for(begun.wait(), 30)
    assert await reserve(begin, "loser", DRIVERS[:1], slots=slots) is None
    await winner
    async with begin() as work:
        stored = (await work.connection.execute(text("SELECT booking_id FROM reservation"))).scalars()
        assert list(stored) == ["winner"]


async def test_an_expired_reservation_is_replaced_in_all_its_slots(begin: BeginUnitOfWork[FleetsSql]) -> None:
    await reserve(begin, "b1", DRIVERS[:1], slots=covered_slots(PICKUP_AT, 60))
    assert await reserve(begin, "b2", DRIVERS[:1], AFTER_EXPIRY) == DRIVERS[0]
    async with begin() as work:
        await work.confirm("ada", DRIVERS[0], "b1")
        stored = (await work.connection.execute(text("SELECT booking_id FROM reservation"))).scalars()
        assert list(stored) == ["b2"]


async def test_only_a_released_or_expired_reservation_can_be_replaced(begin: BeginUnitOfWork[FleetsSql]) -> None:
    candidates = DRIVERS[:1]
    assert await reserve(begin, "b1", candidates) == candidates[0]
    assert await reserve(begin, "b2", candidates, BEFORE_EXPIRY) is None
    assert await reserve(begin, "b2", candidates, AFTER_EXPIRY) == candidates[0]
    async with begin() as work:
        await work.release("ada", candidates[0], "b1")
    assert await reserve(begin, "b3", candidates, AFTER_EXPIRY) is None, (
        "b1 cannot release a reservation that b2 replaced"
    )
    async with begin() as work:
        await work.release("ada", candidates[0], "b2")
    assert await reserve(begin, "b3", candidates, AFTER_EXPIRY) == candidates[0]


async def test_a_confirmed_reservation_never_expires(begin: BeginUnitOfWork[FleetsSql]) -> None:
    candidates = DRIVERS[:1]
    await reserve(begin, "b1", candidates)
    async with begin() as work:
        await work.confirm("ada", candidates[0], "b1")
        await work.confirm("ada", candidates[0], "another booking")
    assert await reserve(begin, "b2", candidates, timedelta(days=1)) is None


async def test_an_expired_reservation_is_replaced_once(begin: BeginUnitOfWork[FleetsSql]) -> None:
    assert await reserve(begin, "b0", DRIVERS[:1]) is not None
    drivers_reserved = await asyncio.gather(
        *(reserve(begin, f"b{number}", DRIVERS[:1], AFTER_EXPIRY) for number in range(1, 13))
    )
    assert [driver for driver in drivers_reserved if driver is not None] == DRIVERS[:1]


async def test_a_second_reservation_of_a_booking_is_an_error(begin: BeginUnitOfWork[FleetsSql]) -> None:
    await reserve(begin, "b1", DRIVERS)
    with pytest.raises(UniqueViolationError):
        await reserve(begin, "b1", DRIVERS)


async def test_a_withdrawn_request_keeps_no_driver_whether_it_is_handled_before_meanwhile_or_later(
    begin: BeginUnitOfWork[FleetsSql],
) -> None:
    requests = {when: fleet_request(f"withdrawn {when}") for when in ("before", "meanwhile", "later")}
    assert await handle_request(begin, requests["before"])
    withdrawals = [withdraw(begin, requests["before"])]
    async with begin() as work:
        await work.record_message(requests["meanwhile"])
        withdrawals.append(withdraw(begin, requests["meanwhile"]))
        waiting = asyncio.ensure_future(asyncio.gather(*withdrawals))
        await asyncio.wait({waiting}, timeout=0.3)
        assert not waiting.done(), "it waits for the request that is being handled"
        assert await work.reserve(reservation_of(requests["meanwhile"]), DRIVERS)
    await waiting
    await withdraw(begin, requests["later"])
    assert not await handle_request(begin, requests["later"]), "it counts as handled"
    async with begin() as work:
        assert not (await work.connection.execute(text("SELECT driver FROM reservation"))).scalars()


def fleet_request(conversation_id: str) -> Envelope:
    return request(conversation_id, id=message_id(conversation_id, ASK_FLEET.name, "ada"), flow=ASK_FLEET.name)


def reservation_of(ask_fleet: Envelope) -> Reservation:
    return Reservation(
        fleet="ada", slots=[SLOT], booking_id=ask_fleet.conversation_id, now=NOW, expires_at=NOW + RESERVATION_TTL
    )


async def handle_request(begin: BeginUnitOfWork[FleetsSql], ask_fleet: Envelope) -> bool:
    """Handle a request as the endpoint does, and return whether it had an effect."""
    async with begin() as work:
        is_new = await work.record_message(ask_fleet)
        if is_new:
            await work.reserve(reservation_of(ask_fleet), DRIVERS)
        return is_new


async def withdraw(begin: BeginUnitOfWork[FleetsSql], ask_fleet: Envelope) -> None:
    async with begin() as work:
        await work.withdraw("ada", ask_fleet.conversation_id)


async def test_an_unreadable_reply_is_stored_once(begin: BeginUnitOfWork[FleetsSql]) -> None:
    async with begin() as work:
        await work.record_unreadable(unreadable_reply(b"\xff\x00<html>"))
        await work.record_unreadable(unreadable_reply(b"again"))
        assert await work.list_unreadable(10) == [unreadable_reply(b"\xff\x00<html>")]


async def test_a_parked_reply_is_deleted_alone(begin: BeginUnitOfWork[FleetsSql]) -> None:
    async with begin() as work:
        for fleet in ("ada", "cargo"):
            await work.record_unreadable(unreadable_reply(b"", fleet))
        await work.delete_unreadable("b1", "ada")
        assert await work.list_unreadable(10) == [unreadable_reply(b"", "cargo")]
