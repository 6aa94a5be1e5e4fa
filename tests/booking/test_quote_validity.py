"""Validity of a quote: no booking is confirmed after it, with any clock skew."""

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
from tests.booking.booking_suite import BOOKING, MATCHED, NOW, PLAN, QUOTED

VALID = timedelta(minutes=15)
SKEWS = [timedelta(), timedelta(hours=2), -timedelta(hours=2)]


@pytest.mark.parametrize("skew", SKEWS)
def test_the_validity_of_a_quote_does_not_depend_on_the_clock_of_pricing(skew: timedelta) -> None:
    quoted = FareQuoted(fare=Money(cents=1), discount=Money(cents=0), valid_until=NOW + skew + VALID)
    rebased = process.rebase_validity(quoted, occurred_at=NOW + skew, requested_at=NOW, db_now=NOW)

    assert isinstance(rebased, FareQuoted)
    assert rebased.valid_until == NOW + VALID


@pytest.mark.parametrize(
    ("skew", "made_at"),
    [
        (timedelta(), NOW + timedelta(minutes=4)),
        (timedelta(hours=2), NOW + timedelta(minutes=5)),
        (-timedelta(hours=2), NOW),
    ],
    ids=["right clock", "ahead", "behind"],
)
def test_a_quote_is_valid_from_when_it_was_made(skew: timedelta, made_at: datetime) -> None:
    """The request waited for four minutes and the reply for one; a wrong clock counts from the receipt or request."""
    occurred_at = NOW + timedelta(minutes=4) + skew
    quoted = FareQuoted(fare=Money(cents=1), discount=Money(cents=0), valid_until=occurred_at + VALID)
    received_at = NOW + timedelta(minutes=5)
    rebased = process.rebase_validity(quoted, occurred_at=occurred_at, requested_at=NOW, db_now=received_at)

    assert isinstance(rebased, FareQuoted)
    assert rebased.valid_until == made_at + VALID


def test_a_ride_is_not_confirmed_once_its_pickup_has_passed() -> None:
    soon = replace(BOOKING, ride=replace(BOOKING.ride, pickup_at=NOW + timedelta(seconds=5)))
    priced = process.apply_fare_reply(soon, QUOTED, NOW).booking

    assert (
        process.apply_driver_reply(priced, MATCHED, NOW + timedelta(seconds=5)).booking.state is BookingState.CONFIRMED
    )
    late = process.apply_driver_reply(priced, MATCHED, NOW + timedelta(seconds=6))
    assert (late.booking.state, late.booking.reason) == (BookingState.EXPIRED, PICKUP_PASSED)


@pytest.mark.real
@pytest.mark.parametrize("booking_skew", SKEWS)
@pytest.mark.parametrize("pricing_skew", SKEWS)
async def test_no_ride_is_confirmed_after_its_validity_with_any_clock_skew(
    begin_sql: BeginUnitOfWork[BookingSql], engine: AsyncEngine, booking_skew: timedelta, pricing_skew: timedelta
) -> None:
    for name, age, state in (("fresh", VALID - timedelta(minutes=1), "confirmed"), ("stale", VALID, "expired")):
        await _create_priced(begin_sql, name, booking_skew=booking_skew, pricing_skew=pricing_skew)
        await _shorten_validity(engine, name, age)
        result = await _handle(
            begin_sql, handle_driver_reply, MATCHED, HandlerContext(name, "m", PLAN, _now(booking_skew))
        )

        notices = [request.body.notice for request in result.requests if isinstance(request.body, NotifyRider)]
        assert notices == [state], "the rider is notified"
        assert await _state(begin_sql, name) == (state, QUOTE_EXPIRED if state == "expired" else None)
        released = [event for event in result.events if isinstance(event.body, BookingEnded)]
        assert len(released) == (state == "expired"), "BookingEnded releases a driver"


@pytest.mark.real
async def test_a_quote_that_expires_between_read_and_write_is_not_confirmed(
    begin_sql: BeginUnitOfWork[BookingSql], engine: AsyncEngine
) -> None:
    await _create_priced(begin_sql, "b1")
    with pytest.raises(StaleDecision, match="expired"):
        await _save_confirmed_after_expiry(begin_sql, "b1")
    assert (await _state(begin_sql, "b1"))[0] == "priced"

    await _shorten_validity(engine, "b1", VALID)
    await _handle(begin_sql, handle_driver_reply, MATCHED, HandlerContext("b1", "m", PLAN, NOW))
    assert (await _state(begin_sql, "b1"))[0] == "expired", "the second attempt expires the booking"


def _now(skew: timedelta) -> datetime:
    return datetime.now(UTC) + skew


async def _create_priced(
    begin: BeginUnitOfWork[BookingSql],
    name: str,
    *,
    booking_skew: timedelta = timedelta(),
    pricing_skew: timedelta = timedelta(),
) -> None:
    history = (StateChange(state=BookingState.REQUESTED, at=_now(booking_skew)),)
    record = IdempotencyRecord(
        key=replace(BOOKING, key=name).rider_key, booking_id=name, fingerprint=b"", created_at=NOW
    )
    async with begin() as work:
        await work.create(replace(BOOKING, id=name, key=name, history=history), record)
    occurred_at = _now(pricing_skew)
    quoted = FareQuoted(fare=Money(cents=2100), discount=Money(cents=0), valid_until=occurred_at + VALID)
    await _handle(
        begin, handle_fare_reply, quoted, HandlerContext(name, "m", PLAN, _now(booking_skew), occurred_at=occurred_at)
    )


async def _shorten_validity(engine: AsyncEngine, name: str, age: timedelta) -> None:
    """Move the end of the validity back by ``age``, as if the booking had been priced earlier."""
    statement = "UPDATE booking SET quote_valid_until = quote_valid_until - make_interval(secs => :s) WHERE id = :name"
    async with engine.begin() as connection:
        await connection.execute(text(statement), {"name": name, "s": age.total_seconds()})


async def _save_confirmed_after_expiry(begin: BeginUnitOfWork[BookingSql], name: str) -> None:
    """Decide to confirm, then save with a quote that has expired in the meantime."""
    async with begin() as work:
        locked = await work.lock(name)
        assert locked is not None
        confirmed = process.apply_driver_reply(locked.booking, MATCHED, NOW, db_now=locked.db_now).booking
        assert confirmed.state is BookingState.CONFIRMED
        assert confirmed.quote is not None
        expired_quote = replace(confirmed.quote, valid_until=_now(-timedelta(seconds=1)))
        await work.save(replace(confirmed, quote=expired_quote))


async def _handle(
    begin: BeginUnitOfWork[BookingSql],
    handler: Callable[..., Awaitable[HandlerResult]],
    reply: FareQuoted | DriverMatched,
    about: HandlerContext,
) -> HandlerResult:
    async with begin() as work:
        return await handler(about, reply, work)


async def _state(begin: BeginUnitOfWork[BookingSql], name: str) -> tuple[str, str | None]:
    async with begin() as work:
        booking = await work.find(name)
    assert booking is not None
    return booking.state.value, booking.reason
