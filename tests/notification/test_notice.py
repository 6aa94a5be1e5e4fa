"""A notice is told once, on both stores."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.booking import DeliveryEntry
from prebook.contracts.notification import Notice, RiderNotified
from prebook.notification.domain.cursor import START, LogPosition
from prebook.notification.handlers import MAX_TEXT_CHARS
from tests.notification.conftest import Begin
from tests.notification.telling import RIDER, TEXT, told

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


async def log(begin: Begin, since: datetime = LONG_AGO, after: LogPosition = START) -> list[DeliveryEntry]:
    async with begin() as work:
        return list(await work.list_deliveries(since, after, 1000))


def counts(lines: list[DeliveryEntry]) -> list[tuple[str, str, int]]:
    return [(line.booking_id, line.notice, line.times_delivered) for line in lines]


async def test_the_answer_names_the_notice(begin: Begin) -> None:
    assert await told(begin, "b1", Notice.EXPIRED) == RiderNotified(notice=Notice.EXPIRED)


async def test_a_notice_asked_for_again_is_answered_again_and_told_once(begin: Begin) -> None:
    answers = [await told(begin, "b1", message_id=f"m{n}", text=f"{n}") for n in range(3)]

    assert answers == [RiderNotified(notice=Notice.CONFIRMED)] * 3
    assert counts(await log(begin)) == [("b1", "confirmed", 1)]


async def test_each_notice_of_a_booking_is_told(begin: Begin) -> None:
    for notice in (Notice.CONFIRMED, Notice.CANCELLED):
        await told(begin, "b1", notice)
    await told(begin, "b0")

    expected = [("b0", "confirmed", 1), ("b1", "cancelled", 1), ("b1", "confirmed", 1)]
    assert counts(await log(begin)) == expected


async def test_who_was_told_that_a_ride_is_cancelled_is_not_told_afterwards_that_it_is_confirmed(begin: Begin) -> None:
    late = [await told(begin, "b1", notice, message_id=f"m{notice}") for notice in (Notice.CANCELLED, Notice.CONFIRMED)]

    assert late == [RiderNotified(notice=Notice.CANCELLED), RiderNotified(notice=Notice.CONFIRMED)]
    assert counts(await log(begin)) == [("b1", "cancelled", 1)]


async def test_it_is_told_when_it_is_told(begin: Begin) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await told(begin, "b1")
    (line,) = await log(begin)

    assert before < line.delivered_at < datetime.now(UTC) + timedelta(seconds=1)
    assert await log(begin, since=line.delivered_at) == [line]
    assert await log(begin, since=line.delivered_at + timedelta(microseconds=1)) == []


async def test_what_is_undone_was_not_told(begin: Begin) -> None:
    async def undone() -> None:
        async with begin() as work:
            assert await work.deliver("b1", Notice.CONFIRMED, RIDER, TEXT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await undone()

    assert await log(begin) == []
    await told(begin, "b1")
    assert counts(await log(begin)) == [("b1", "confirmed", 1)]


async def test_asked_for_40_times_at_once_it_is_told_once(begin_sql: Begin) -> None:
    async with asyncio.TaskGroup() as group:
        tellings = [group.create_task(told(begin_sql, f"b{n % 4}", message_id=f"m{n}")) for n in range(40)]

    answers = [telling.result() for telling in tellings]
    assert answers == [RiderNotified(notice=Notice.CONFIRMED)] * 40
    assert counts(await log(begin_sql)) == [(f"b{n}", "confirmed", 1) for n in range(4)]


async def test_a_second_delivery_would_show(begin_sql: Begin, engine: AsyncEngine) -> None:
    """The count is one of what was done: with the decision out of the way, it says two."""
    await told(begin_sql, "b1")
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM notified"))
    await told(begin_sql, "b1")

    assert counts(await log(begin_sql)) == [("b1", "confirmed", 2)]


async def test_the_log_knows_whom_and_what_within_bounds(begin_sql: Begin, engine: AsyncEngine) -> None:
    await told(begin_sql, "b1", text="x" * (MAX_TEXT_CHARS + 1))

    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT rider_id, text FROM delivery"))).one()
    assert tuple(row) == (RIDER, "x" * MAX_TEXT_CHARS)


async def test_the_clock_is_that_of_the_delivery_and_not_of_the_transaction(begin_sql: Begin) -> None:
    async with begin_sql() as work:
        began: Any = (await work.connection.execute(text("SELECT now()"))).scalar_one()
        await work.connection.execute(text("SELECT pg_sleep(0.02)"))
        await work.deliver("b1", Notice.CONFIRMED, RIDER, TEXT)
        (line,) = await work.list_deliveries(LONG_AGO, START, 1)

    assert line.delivered_at >= began + timedelta(milliseconds=20)


async def test_nothing_of_the_rider_is_printed(begin: Begin, capfd: pytest.CaptureFixture[str]) -> None:
    await told(begin, "b1")
    await told(begin, "b1", message_id="m2")

    printed = capfd.readouterr()
    assert "canary" not in printed.out + printed.err
