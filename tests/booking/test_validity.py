"""A quote, and with it a booking, has a time to live: nothing is confirmed after it, whoever's clock is wrong."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.booking import process
from prebook.booking.handlers import handle_driver_reply, handle_fare_reply
from prebook.booking.process import PICKUP_PASSED, QUOTE_EXPIRED
from prebook.booking.sql.work import BookingSql
from prebook.booking.store import IdempotencyRecord, StaleDecision
from prebook.contracts.events import BookingEnded
from prebook.contracts.matching import DriverMatched
from prebook.contracts.notification import NotifyRider
from prebook.contracts.pricing import FareQuoted
from prebook.contracts.ride import BookingState, Money, StateChange
from prebook.messaging.handlers import HandlerContext, HandlerResult
from prebook.messaging.unit_of_work import BeginUnitOfWork
from tests.booking.rides import BOOKING, MATCHED, NOW, PLAN, QUOTED

VALID = timedelta(minutes=15)
SKEWS = [timedelta(), timedelta(hours=2), -timedelta(hours=2)]


@pytest.mark.parametrize("skew", SKEWS)
def test_a_quote_is_valid_as_long_as_pricing_said_whatever_its_clock(skew: timedelta) -> None:
    quoted = FareQuoted(fare=Money(cents=1), discount=Money(cents=0), valid_until=NOW + skew + VALID)
    reckoned = process.rebase_validity(quoted, occurred_at=NOW + skew, requested_at=NOW)

    assert isinstance(reckoned, FareQuoted)
    assert reckoned.valid_until == NOW + VALID


def test_a_ride_is_not_confirmed_once_its_pickup_has_passed() -> None:
    soon = replace(BOOKING, ride=replace(BOOKING.ride, pickup_at=NOW + timedelta(seconds=5)))
    priced = process.apply_fare_reply(soon, QUOTED, NOW).booking

    assert (
        process.apply_driver_reply(priced, MATCHED, NOW + timedelta(seconds=5)).booking.state is BookingState.CONFIRMED
    )
    late = process.apply_driver_reply(priced, MATCHED, NOW + timedelta(seconds=6))
    assert (late.booking.state, late.booking.reason) == (BookingState.EXPIRED, PICKUP_PASSED)


@pytest.mark.real
@pytest.mark.parametrize("ours", SKEWS)
@pytest.mark.parametrize("theirs", SKEWS)
async def test_no_ride_is_confirmed_after_its_validity_whoevers_clock_is_wrong(
    begin_sql: BeginUnitOfWork[BookingSql], engine: AsyncEngine, ours: timedelta, theirs: timedelta
) -> None:
    for name, age, state in (("fresh", VALID - timedelta(minutes=1), "confirmed"), ("stale", VALID, "expired")):
        await _priced(begin_sql, name, ours=ours, theirs=theirs)
        await _age(engine, name, age)
        outcome = await _heard(begin_sql, handle_driver_reply, MATCHED, HandlerContext(name, "m", PLAN, _now(ours)))

        told = [ask.body.notice for ask in outcome.requests if isinstance(ask.body, NotifyRider)]
        assert told == [state], "the rider knows"
        assert await _state(begin_sql, name) == (state, QUOTE_EXPIRED if state == "expired" else None)
        let_go = [fact for fact in outcome.events if isinstance(fact.body, BookingEnded)]
        assert len(let_go) == (state == "expired"), "and so does whoever holds a driver"


@pytest.mark.real
async def test_what_runs_out_between_looking_and_writing_is_not_confirmed(
    begin_sql: BeginUnitOfWork[BookingSql], engine: AsyncEngine
) -> None:
    await _priced(begin_sql, "b1")
    with pytest.raises(StaleDecision, match="expired"):
        await _confirmed_on_paper(begin_sql, "b1")
    assert (await _state(begin_sql, "b1"))[0] == "priced"

    await _age(engine, "b1", VALID)
    await _heard(begin_sql, handle_driver_reply, MATCHED, HandlerContext("b1", "m", PLAN, NOW))
    assert (await _state(begin_sql, "b1"))[0] == "expired", "the second try sees it"


def _now(skew: timedelta) -> datetime:
    return datetime.now(UTC) + skew


async def _priced(
    begin: BeginUnitOfWork[BookingSql], name: str, *, ours: timedelta = timedelta(), theirs: timedelta = timedelta()
) -> None:
    history = (StateChange(state=BookingState.REQUESTED, at=_now(ours)),)
    claim = IdempotencyRecord(key=name, booking_id=name, fingerprint=b"", created_at=NOW)
    async with begin() as work:
        await work.create(replace(BOOKING, id=name, key=name, history=history), claim)
    said_at = _now(theirs)
    quoted = FareQuoted(fare=Money(cents=2100), discount=Money(cents=0), valid_until=said_at + VALID)
    await _heard(begin, handle_fare_reply, quoted, HandlerContext(name, "m", PLAN, _now(ours), occurred_at=said_at))


async def _age(engine: AsyncEngine, name: str, age: timedelta) -> None:
    """As if it had been priced so much earlier."""
    statement = "UPDATE booking SET quote_valid_until = quote_valid_until - make_interval(secs => :s) WHERE id = :name"
    async with engine.begin() as connection:
        await connection.execute(text(statement), {"name": name, "s": age.total_seconds()})


async def _confirmed_on_paper(begin: BeginUnitOfWork[BookingSql], name: str) -> None:
    """The decision is to confirm, and by the time it is written the quote has run out."""
    async with begin() as work:
        held = await work.lock(name)
        assert held is not None
        confirmed = process.apply_driver_reply(held.booking, MATCHED, NOW, db_now=held.db_now).booking
        assert confirmed.state is BookingState.CONFIRMED
        assert confirmed.quote is not None
        ran_out = replace(confirmed.quote, valid_until=_now(-timedelta(seconds=1)))
        await work.save(replace(confirmed, quote=ran_out))


async def _heard(
    begin: BeginUnitOfWork[BookingSql],
    handler: Callable[..., Awaitable[HandlerResult]],
    news: FareQuoted | DriverMatched,
    about: HandlerContext,
) -> HandlerResult:
    async with begin() as work:
        return await handler(about, news, work)


async def _state(begin: BeginUnitOfWork[BookingSql], name: str) -> tuple[str, str | None]:
    async with begin() as work:
        booking = await work.find(name)
    assert booking is not None
    return booking.state.value, booking.reason
