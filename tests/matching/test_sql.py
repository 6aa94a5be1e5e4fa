"""Matching on a real PostgreSQL: what concurrent transactions may never do."""

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
from prebook.matching.handlers import FLEETS, find_driver, handle_booking_ended, handle_fleet_reply
from prebook.matching.process import MAX_AUCTION_AGE, OFFERS_EXPIRED
from prebook.matching.sql import MatchingSql
from prebook.messaging.handlers import HandlerResult
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.postgres.unit_of_work import unit_of_work_factory
from tests.matching.rides import RIDE, SLOT, about, ended, offer, verdicts

pytestmark = pytest.mark.real
AUCTIONS, DRIVERS = 40, 10

Say = Callable[[Callable[[MatchingSql], Awaitable[HandlerResult]]], Awaitable[HandlerResult]]


@pytest.fixture
async def begin(engine: AsyncEngine) -> BeginUnitOfWork[MatchingSql]:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM auction"))
        await connection.execute(text("DELETE FROM assignment"))
    return unit_of_work_factory(engine, MatchingSql)


@pytest.fixture
def say(begin: BeginUnitOfWork[MatchingSql]) -> Say:
    """Runs one step in a transaction of its own."""

    async def step(handle: Callable[[MatchingSql], Awaitable[HandlerResult]]) -> HandlerResult:
        async with begin() as work:
            return await handle(work)

    return step


def driver_of(booking: int, fleet: int) -> str:
    return f"driver-{(booking + fleet * 3) % DRIVERS}"


async def test_forty_auctions_share_ten_drivers_without_giving_one_twice(
    say: Say, begin: BeginUnitOfWork[MatchingSql]
) -> None:
    """Each driver is offered in twelve auctions, so each must be given away, once."""

    async def auction(number: int) -> list[Message]:
        booking = f"b{number}"
        await say(lambda work: find_driver(about(booking), RIDE, work))
        news = [
            (fleet, offer(fleet, 1 + (number * 7 + at) % 9, driver_of(number, at))) for at, fleet in enumerate(FLEETS)
        ]
        told = await asyncio.gather(*(say(_heard(booking, fleet, body)) for fleet, body in news))
        return [outcome.reply for outcome in told if outcome.reply is not None]

    answers = await asyncio.gather(*(auction(number) for number in range(AUCTIONS)))
    assert [len(each) for each in answers] == [1] * AUCTIONS, "each auction has one answer"
    given = Counter(answer.driver for (answer,) in answers if isinstance(answer, DriverMatched))
    assert given == Counter(f"driver-{number}" for number in range(DRIVERS))
    async with begin() as work:
        rows = await work.connection.execute(text("SELECT driver FROM assignment"))
        assert Counter(rows.scalars()) == given


def _heard(booking: str, fleet: str, body: FleetOffered) -> Callable[[MatchingSql], Awaitable[HandlerResult]]:
    return lambda work: handle_fleet_reply(about(booking, fleet), body, work)


async def test_a_booking_that_ends_while_its_auction_opens_is_answered_once_and_left_closed(
    say: Say, begin: BeginUnitOfWork[MatchingSql]
) -> None:
    async def both(booking: str) -> int:
        told = await asyncio.gather(
            say(lambda work: find_driver(about(booking), RIDE, work)),
            say(lambda work: handle_booking_ended(about(booking), ended(booking), work)),
        )
        return sum(outcome.reply is not None for outcome in told)

    assert await asyncio.gather(*(both(f"b{number}") for number in range(30))) == [1] * 30
    async with begin() as work:
        assert await work._fetch_scalar(text("SELECT count(*) FROM auction WHERE closed")) == 30


async def test_an_auction_comes_back_as_it_was_saved(begin: BeginUnitOfWork[MatchingSql]) -> None:
    best = Offer(fleet="ada", driver="ada-0001", slot=SLOT, minutes_away=4)
    auction = Auction(booking_id="b1", fleets_asked=3, pending_fleets=frozenset({"cargo"}))
    changed = auction.with_reply("ada", best).decided(best).with_late_reply("cargo", best)
    async with begin() as work:
        assert await work.open_auction(auction)
        assert not await work.open_auction(changed)
        await work.save(changed)
    async with begin() as work:
        found = await work.lock_auction("b1")
        assert found is not None
        assert (found[0], found[1] < MAX_AUCTION_AGE) == (changed, True)
        assert await work.lock_auction("unheard of") is None


async def test_an_auction_that_took_too_long_chooses_nobody(
    say: Say, begin: BeginUnitOfWork[MatchingSql], engine: AsyncEngine
) -> None:
    """Its offers' holds may have run out, and their drivers may be somebody else's."""
    await say(lambda work: find_driver(about("b1"), RIDE, work))
    await say(lambda work: handle_fleet_reply(about("b1", "ada"), offer("ada", 1), work))
    async with engine.begin() as connection:
        statement = "UPDATE auction SET opened_at = now() - make_interval(secs => :age_s)"
        await connection.execute(text(statement), {"age_s": MAX_AUCTION_AGE.total_seconds()})
    outcome = await say(lambda work: handle_fleet_reply(about("b1", "cargo"), offer("cargo", 2), work))

    assert outcome.reply == NoDriverFound(fleets_asked=3, reason=OFFERS_EXPIRED)
    assert verdicts(outcome) == {"ada": OfferVerdict.LATE, "cargo": OfferVerdict.LATE}
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM assignment"))).scalar() == 0


def test_a_fleet_keeps_what_it_offers_longer_than_an_auction_may_take() -> None:
    assert MAX_AUCTION_AGE + timedelta(seconds=10) < RESERVATION_TTL


async def test_a_slot_is_free_again_after_its_booking_let_go(begin: BeginUnitOfWork[MatchingSql]) -> None:
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
        await _assigned(begin, "b1", Offer(fleet="ada", driver="ada-0002", slot=SLOT, minutes_away=4))


async def _assigned(begin: BeginUnitOfWork[MatchingSql], booking_id: str, offer: Offer) -> bool:
    async with begin() as work:
        return await work.assign(booking_id, offer)
