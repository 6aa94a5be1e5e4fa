"""Quotes and campaign grants, on both stores."""

from datetime import timedelta

import pytest

from prebook.contracts.pricing import FareQuoted, FareRefused
from prebook.contracts.ride import Money, Place
from prebook.pricing.domain.campaign import discount_cents
from prebook.pricing.domain.fare import fare_of
from tests.pricing.conftest import Begin
from tests.pricing.quotes import BERLIN, NOW, end_booking, has_discount, quote, ride

FULL = fare_of(ride())


async def test_a_quote_deducts_the_discount_and_is_valid_for_15_minutes(begin: Begin) -> None:
    assert isinstance(FULL, int)
    discount = discount_cents(FULL)

    assert await quote(begin, "b1", quota=1) == FareQuoted(
        fare=Money(cents=FULL - discount), discount=Money(cents=discount), valid_until=NOW + timedelta(minutes=15)
    )


async def test_without_a_quota_the_full_fare_is_quoted(begin: Begin) -> None:
    assert isinstance(FULL, int)
    reply = await quote(begin, "b1", quota=0)

    assert isinstance(reply, FareQuoted)
    assert (reply.fare, reply.discount) == (Money(cents=FULL), Money(cents=0))


@pytest.mark.parametrize(("north", "advice"), [(0.0, "farther"), (3.0, "nearer")])
async def test_a_refusal_has_advice_and_uses_no_grant(begin: Begin, north: float, advice: str) -> None:
    refused = await quote(begin, "b1", quota=1, dropoff=Place(lat=BERLIN.lat + north, lon=BERLIN.lon))

    assert isinstance(refused, FareRefused)
    assert advice in refused.reason
    assert await has_discount(begin, "b2", quota=1)


async def test_grants_go_to_the_first_bookings(begin: Begin) -> None:
    assert [await has_discount(begin, f"b{n}", quota=2) for n in range(4)] == [True, True, False, False]


async def test_a_booking_quoted_again_has_one_grant(begin: Begin) -> None:
    assert [await has_discount(begin, "b1", quota=2) for _ in range(3)] == [True, True, True]
    assert await has_discount(begin, "b2", quota=2)


async def test_the_discount_is_decided_once_per_booking(begin: Begin) -> None:
    """A booking quoted at full fare keeps it after another booking returns its grant."""
    assert await has_discount(begin, "b1", quota=1)
    assert not await has_discount(begin, "b2", quota=1)
    await end_booking(begin, "b1")

    assert not await has_discount(begin, "b2", quota=1)
    assert await has_discount(begin, "b3", quota=1)


async def test_a_grant_is_returned_once(begin: Begin) -> None:
    assert [await has_discount(begin, f"b{n}", quota=2) for n in (1, 2)] == [True, True]
    for _ in range(3):
        await end_booking(begin, "b1")

    assert [await has_discount(begin, f"b{n}", quota=2) for n in (3, 4)] == [True, False]


async def test_a_booking_without_a_grant_returns_none(begin: Begin) -> None:
    assert await has_discount(begin, "b1", quota=1)
    assert not await has_discount(begin, "b2", quota=1)
    await end_booking(begin, "b2")
    await end_booking(begin, "never quoted")

    assert not await has_discount(begin, "b3", quota=1)


async def test_a_booking_that_ended_before_its_quote_gets_no_grant(begin: Begin) -> None:
    await end_booking(begin, "b1")

    assert not await has_discount(begin, "b1", quota=1)
    assert await has_discount(begin, "b2", quota=1)


async def test_a_higher_quota_counts_and_a_lower_one_revokes_no_grant(begin: Begin) -> None:
    assert [await has_discount(begin, f"a{n}", quota=1) for n in range(2)] == [True, False]
    assert [await has_discount(begin, f"b{n}", quota=3) for n in range(3)] == [True, True, False]
    await end_booking(begin, "a0")

    assert await has_discount(begin, "c1", quota=1)


async def test_a_rollback_returns_the_grant(begin: Begin) -> None:
    async def take_and_fail() -> None:
        async with begin() as work:
            assert await work.grant_discount("b1", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await take_and_fail()

    assert await has_discount(begin, "b2", quota=1)
