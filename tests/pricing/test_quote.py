"""Quotes and the campaign, on both stores."""

from datetime import timedelta

import pytest

from prebook.contracts.pricing import FareQuoted, FareRefused
from prebook.contracts.ride import Money, Place
from prebook.pricing.domain.campaign import discount_cents
from prebook.pricing.domain.fare import fare_of
from tests.pricing.conftest import Begin
from tests.pricing.rides import BERLIN, NOW, ended, has_discount, quoted, ride

FULL = fare_of(ride())


async def test_a_quote_has_its_discount_taken_off_and_holds_for_a_quarter_of_an_hour(begin: Begin) -> None:
    assert isinstance(FULL, int)
    off = discount_cents(FULL)

    assert await quoted(begin, "b1", quota=1) == FareQuoted(
        fare=Money(cents=FULL - off), discount=Money(cents=off), valid_until=NOW + timedelta(minutes=15)
    )


async def test_without_a_quota_the_full_fare_is_quoted(begin: Begin) -> None:
    assert isinstance(FULL, int)
    answer = await quoted(begin, "b1", quota=0)

    assert isinstance(answer, FareQuoted)
    assert (answer.fare, answer.discount) == (Money(cents=FULL), Money(cents=0))


@pytest.mark.parametrize(("north", "advice"), [(0.0, "farther"), (3.0, "nearer")])
async def test_a_refusal_says_what_to_choose_and_takes_no_share(begin: Begin, north: float, advice: str) -> None:
    refused = await quoted(begin, "b1", quota=1, dropoff=Place(lat=BERLIN.lat + north, lon=BERLIN.lon))

    assert isinstance(refused, FareRefused)
    assert advice in refused.reason
    assert await has_discount(begin, "b2", quota=1)


async def test_first_come_first_served(begin: Begin) -> None:
    assert [await has_discount(begin, f"b{n}", quota=2) for n in range(4)] == [True, True, False, False]


async def test_a_booking_has_one_share_however_often_it_is_quoted(begin: Begin) -> None:
    assert [await has_discount(begin, "b1", quota=2) for _ in range(3)] == [True, True, True]
    assert await has_discount(begin, "b2", quota=2)


async def test_it_is_decided_once_per_booking(begin: Begin) -> None:
    """A rider who was told the full fare is not told another one because somebody else has cancelled."""
    assert await has_discount(begin, "b1", quota=1)
    assert not await has_discount(begin, "b2", quota=1)
    await ended(begin, "b1")

    assert not await has_discount(begin, "b2", quota=1)
    assert await has_discount(begin, "b3", quota=1)


async def test_a_share_goes_back_once(begin: Begin) -> None:
    assert [await has_discount(begin, f"b{n}", quota=2) for n in (1, 2)] == [True, True]
    for _ in range(3):
        await ended(begin, "b1")

    assert [await has_discount(begin, f"b{n}", quota=2) for n in (3, 4)] == [True, False]


async def test_a_booking_that_had_no_share_gives_none_back(begin: Begin) -> None:
    assert await has_discount(begin, "b1", quota=1)
    assert not await has_discount(begin, "b2", quota=1)
    await ended(begin, "b2")
    await ended(begin, "never quoted")

    assert not await has_discount(begin, "b3", quota=1)


async def test_a_booking_that_ended_before_its_quote_gets_no_share(begin: Begin) -> None:
    await ended(begin, "b1")

    assert not await has_discount(begin, "b1", quota=1)
    assert await has_discount(begin, "b2", quota=1)


async def test_a_higher_setting_raises_the_quota_and_a_lower_one_takes_nothing_back(begin: Begin) -> None:
    assert [await has_discount(begin, f"a{n}", quota=1) for n in range(2)] == [True, False]
    assert [await has_discount(begin, f"b{n}", quota=3) for n in range(3)] == [True, True, False]
    await ended(begin, "a0")

    assert await has_discount(begin, "c1", quota=1)


async def test_what_is_undone_has_taken_nothing(begin: Begin) -> None:
    async def undone() -> None:
        async with begin() as work:
            assert await work.grant_discount("b1", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await undone()

    assert await has_discount(begin, "b2", quota=1)
