"""Matching on PostgreSQL: concurrent transactions."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from asyncpg import UniqueViolationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.events import OfferVerdict
from prebook.contracts.fleets import FleetOffered
from prebook.contracts.matching import DriverMatched, NoDriverFound
from prebook.contracts.message import Message
from prebook.fleets.domain.fleet import RESERVATION_TTL
from prebook.matching.domain.auction import Auction, Offer
from prebook.matching.handlers import handle_booking_ended
from prebook.matching.process import MAX_AUCTION_AGE, OFFERS_EXPIRED
from prebook.matching.sql import MatchingSql
from prebook.messaging.handlers import HandlerResult
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.patterns.scatter_gather import Completion, ReplyVerdict
from prebook.postgres.unit_of_work import unit_of_work_factory
from tests.matching.messages import (
    FLEETS,
    RIDE,
    SLOT,
    booking_ended,
    find_driver,
    handle_fleet_reply,
    handler_context,
    offer,
    verdicts,
)

pytestmark = pytest.mark.real
AUCTIONS, DRIVERS = 40, 10

Execute = Callable[[Callable[[MatchingSql], Awaitable[HandlerResult]]], Awaitable[HandlerResult]]


@pytest.fixture
async def begin(engine: AsyncEngine) -> BeginUnitOfWork[MatchingSql]:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM auction"))
        await connection.execute(text("DELETE FROM assignment"))
    return unit_of_work_factory(engine, MatchingSql)


@pytest.fixture
def execute(begin: BeginUnitOfWork[MatchingSql]) -> Execute:
    """Run one handler in its own transaction."""

    async def step(handle: Callable[[MatchingSql], Awaitable[HandlerResult]]) -> HandlerResult:
        async with begin() as work:
            return await handle(work)

    return step


def driver_of(booking: int, fleet: int) -> str:
    return f"driver-{(booking + fleet * 3) % DRIVERS}"


async def test_forty_concurrent_auctions_assign_ten_drivers_once_each(
    execute: Execute, begin: BeginUnitOfWork[MatchingSql]
) -> None:
    """Every driver is offered in twelve auctions, so every driver must be assigned exactly once."""

    async def auction(number: int) -> list[Message]:
        booking = f"b{number}"
        await execute(lambda work: find_driver(handler_context(booking), RIDE, work))
        offers = [
            (fleet, offer(fleet, 1 + (number * 7 + at) % 9, driver_of(number, at))) for at, fleet in enumerate(FLEETS)
        ]
        results = await asyncio.gather(*(execute(_reply_handler(booking, fleet, body)) for fleet, body in offers))
        return [result.reply for result in results if result.reply is not None]

    replies = await asyncio.gather(*(auction(number) for number in range(AUCTIONS)))
    assert [len(each) for each in replies] == [1] * AUCTIONS, "each auction has one reply"
    assigned = Counter(reply.driver for (reply,) in replies if isinstance(reply, DriverMatched))
    assert assigned == Counter(f"driver-{number}" for number in range(DRIVERS))
    async with begin() as work:
        rows = await work.connection.execute(text("SELECT driver FROM assignment"))
        assert Counter(rows.scalars()) == assigned


def _reply_handler(booking: str, fleet: str, body: FleetOffered) -> Callable[[MatchingSql], Awaitable[HandlerResult]]:
    return lambda work: handle_fleet_reply(handler_context(booking, fleet), body, work)


async def test_a_booking_that_ends_while_its_auction_opens_gets_one_reply_and_a_closed_auction(
    execute: Execute, begin: BeginUnitOfWork[MatchingSql]
) -> None:
    async def both(booking: str) -> int:
        results = await asyncio.gather(
            execute(lambda work: find_driver(handler_context(booking), RIDE, work)),
            execute(lambda work: handle_booking_ended(handler_context(booking), booking_ended(booking), work)),
        )
        return sum(result.reply is not None for result in results)

    assert await asyncio.gather(*(both(f"b{number}") for number in range(30))) == [1] * 30
    async with begin() as work:
        assert await work._fetch_scalar(text("SELECT count(*) FROM auction WHERE closed")) == 30


async def test_a_saved_auction_is_read_unchanged(begin: BeginUnitOfWork[MatchingSql]) -> None:
    best = Offer(fleet="ada", driver="ada-0001", slot=SLOT, minutes_away=4)
    auction = Auction(booking_id="b1", fleets_asked=3, pending_fleets=frozenset({"cargo"}))
    changed = auction.with_reply("ada", best, ReplyVerdict.USED).decided(best, Completion.ENOUGH)
    changed = changed.with_reply("cargo", best, ReplyVerdict.LATE)
    async with begin() as work:
        assert await work.open_auction(auction)
        assert not await work.open_auction(changed)
        await work.save(changed, None)
    async with begin() as work:
        found = await work.lock_auction("b1")
        assert found is not None
        assert (found[0], found[1] < MAX_AUCTION_AGE) == (changed, True)
        assert await work.lock_auction("unknown") is None


async def test_an_auction_above_its_maximum_age_has_no_winner(
    execute: Execute, begin: BeginUnitOfWork[MatchingSql], engine: AsyncEngine
) -> None:
    """Reservations of its offers may have expired, and their drivers may be assigned to other bookings."""
    await execute(lambda work: find_driver(handler_context("b1"), RIDE, work))
    await execute(lambda work: handle_fleet_reply(handler_context("b1", "ada"), offer("ada", 1), work))
    async with engine.begin() as connection:
        statement = "UPDATE auction SET opened_at = now() - make_interval(secs => :age_s)"
        await connection.execute(text(statement), {"age_s": MAX_AUCTION_AGE.total_seconds()})
    result = await execute(lambda work: handle_fleet_reply(handler_context("b1", "cargo"), offer("cargo", 2), work))

    assert result.reply == NoDriverFound(fleets_asked=3, reason=OFFERS_EXPIRED, fleets_replied=2)
    assert verdicts(result) == {"ada": OfferVerdict.LATE, "cargo": OfferVerdict.LATE}
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM assignment"))).scalar() == 0


async def test_an_auction_with_an_offer_is_overdue_after_its_deadline_by_the_database_s_clock(
    begin: BeginUnitOfWork[MatchingSql],
) -> None:
    auction = Auction(booking_id="b1", fleets_asked=3, pending_fleets=frozenset({"cargo"}))
    async with begin() as work:
        await work.open_auction(auction)
        assert await work.list_overdue(10) == []
        await work.save(auction, timedelta(minutes=1))
        assert await work.list_overdue(10) == []
        await work.save(auction, timedelta(0))
        assert await work.list_overdue(10) == ["b1"]
        await work.save(auction, timedelta(hours=-2))
        assert await work.list_overdue(10) == []
        await work.save(auction, None)
        assert await work.list_overdue(10) == []


def test_a_reservation_outlives_the_maximum_age_of_an_auction() -> None:
    assert MAX_AUCTION_AGE + timedelta(seconds=10) < RESERVATION_TTL


async def test_a_released_slot_can_be_assigned_again(begin: BeginUnitOfWork[MatchingSql]) -> None:
    best = Offer(fleet="ada", driver="ada-0001", slot=SLOT, minutes_away=4)
    async with begin() as work:
        assert await work.assign("b1", best)
        assert not await work.assign("b2", best)
        assert await work.unassign("b1")
        assert not await work.unassign("b1")
        assert await work.assign("b2", best)


async def test_a_second_driver_for_one_booking_is_an_error(begin: BeginUnitOfWork[MatchingSql]) -> None:
    async with begin() as work:
        assert await work.assign("b1", Offer(fleet="ada", driver="ada-0001", slot=SLOT, minutes_away=4))
    with pytest.raises(UniqueViolationError):
        await _assign(begin, "b1", Offer(fleet="ada", driver="ada-0002", slot=SLOT, minutes_away=4))


async def _assign(begin: BeginUnitOfWork[MatchingSql], booking_id: str, offer: Offer) -> bool:
    async with begin() as work:
        return await work.assign(booking_id, offer)
