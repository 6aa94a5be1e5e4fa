"""The campaign under concurrency, on a real PostgreSQL."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.conditions import eventually
from tests.pricing.conftest import Begin
from tests.pricing.rides import at_once, ended, has_discount

BLOCKED = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def states(engine: AsyncEngine) -> tuple[int, Counter[str]]:
    """What the campaign's counter says, and what the bookings' rows say."""
    async with engine.begin() as connection:
        granted = (await connection.execute(text("SELECT granted FROM campaign"))).scalar_one()
        rows = (await connection.execute(text("SELECT state FROM discount_grant"))).scalars().all()
    return granted, Counter(rows)


async def test_200_quotes_at_once_over_a_quota_of_50_grant_exactly_50(begin_sql: Begin, engine: AsyncEngine) -> None:
    discounts = await at_once(*(has_discount(begin_sql, f"b{n}", quota=50) for n in range(200)))

    assert Counter(discounts) == {True: 50, False: 150}
    assert await states(engine) == (50, {"granted": 50, "none_left": 150})


async def test_the_same_booking_quoted_at_once_has_one_share(begin_sql: Begin, engine: AsyncEngine) -> None:
    discounts = await at_once(*(has_discount(begin_sql, "b1", quota=50) for _ in range(40)))

    assert all(discounts)
    assert await states(engine) == (1, {"granted": 1})


async def test_quotes_and_endings_at_once_leave_no_share_behind(begin_sql: Begin, engine: AsyncEngine) -> None:
    """Each booking is quoted and, at the same time, ended twice."""
    await at_once(*(_quoted_and_ended(begin_sql, f"b{n}") for n in range(60)))

    granted, by_state = await states(engine)
    assert granted == by_state["granted"] == 0
    assert by_state.total() == 60


async def test_an_ending_waits_for_the_quote_that_it_overtakes(begin_sql: Begin, engine: AsyncEngine) -> None:
    async with asyncio.TaskGroup() as group, begin_sql() as quote:
        assert await quote.grant_discount("b1", 5)
        group.create_task(ended(begin_sql, "b1"))
        await eventually(lambda: _somebody_waits(engine))

    assert await states(engine) == (0, {"returned": 1})


async def test_where_none_is_left_nobody_waits_for_the_campaigns_row(begin_sql: Begin) -> None:
    assert await has_discount(begin_sql, "b1", quota=1)
    async with begin_sql() as holder:
        await holder.connection.execute(text("SELECT FROM campaign FOR UPDATE"))
        async with asyncio.timeout(2):
            assert not await has_discount(begin_sql, "b2", quota=1)


async def test_the_table_itself_refuses_to_be_oversold(engine: AsyncEngine) -> None:
    with pytest.raises(IntegrityError, match="campaign_granted_check"):
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE campaign SET quota = 1, granted = 2"))


async def _quoted_and_ended(begin: Begin, booking_id: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ended(begin, booking_id))
        group.create_task(has_discount(begin, booking_id, quota=20))
        group.create_task(ended(begin, booking_id))


async def _somebody_waits(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        return bool((await connection.execute(BLOCKED)).scalar())
