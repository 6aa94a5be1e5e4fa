"""Campaign grants under concurrency, on PostgreSQL."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.conditions import poll_until
from tests.pricing.conftest import Begin
from tests.pricing.quotes import end_booking, has_discount, run_concurrently

BLOCKED = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def read_states(engine: AsyncEngine) -> tuple[int, Counter[str]]:
    """Counter of the campaign, and number of grants by state."""
    async with engine.begin() as connection:
        granted = (await connection.execute(text("SELECT granted FROM campaign"))).scalar_one()
        rows = (await connection.execute(text("SELECT state FROM discount_grant"))).scalars().all()
    return granted, Counter(rows)


async def test_200_quotes_at_once_over_a_quota_of_50_grant_exactly_50(begin_sql: Begin, engine: AsyncEngine) -> None:
    discounts = await run_concurrently(*(has_discount(begin_sql, f"b{n}", quota=50) for n in range(200)))

    assert Counter(discounts) == {True: 50, False: 150}
    assert await read_states(engine) == (50, {"granted": 50, "none_left": 150})


async def test_concurrent_quotes_of_one_booking_get_one_grant(begin_sql: Begin, engine: AsyncEngine) -> None:
    discounts = await run_concurrently(*(has_discount(begin_sql, "b1", quota=50) for _ in range(40)))

    assert all(discounts)
    assert await read_states(engine) == (1, {"granted": 1})


async def test_concurrent_quotes_and_endings_return_every_grant(begin_sql: Begin, engine: AsyncEngine) -> None:
    """Quote each booking and, concurrently, end it twice."""
    await run_concurrently(*(_quote_and_end(begin_sql, f"b{n}") for n in range(60)))

    granted, by_state = await read_states(engine)
    assert granted == by_state["granted"] == 0
    assert by_state.total() == 60


async def test_an_ending_waits_for_an_uncommitted_quote(begin_sql: Begin, engine: AsyncEngine) -> None:
    async with asyncio.TaskGroup() as group, begin_sql() as quote:
        assert await quote.grant_discount("b1", 5)
        group.create_task(end_booking(begin_sql, "b1"))
        await poll_until(lambda: _has_waiter(engine))

    assert await read_states(engine) == (0, {"returned": 1})


async def test_an_exhausted_campaign_locks_no_row(begin_sql: Begin) -> None:
    assert await has_discount(begin_sql, "b1", quota=1)
    async with begin_sql() as holder:
        await holder.connection.execute(text("SELECT FROM campaign FOR UPDATE"))
        async with asyncio.timeout(2):
            assert not await has_discount(begin_sql, "b2", quota=1)


async def test_the_table_refuses_more_grants_than_the_quota(engine: AsyncEngine) -> None:
    with pytest.raises(IntegrityError, match="campaign_granted_check"):
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE campaign SET quota = 1, granted = 2"))


async def _quote_and_end(begin: Begin, booking_id: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(end_booking(begin, booking_id))
        group.create_task(has_discount(begin, booking_id, quota=20))
        group.create_task(end_booking(begin, booking_id))


async def _has_waiter(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        return bool((await connection.execute(BLOCKED)).scalar())
