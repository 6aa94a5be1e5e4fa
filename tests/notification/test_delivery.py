"""Each notice is delivered once, on both stores."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.contracts.booking import DeliveryEntry
from prebook.contracts.notification import Notice, RiderNotified
from prebook.notification.domain.cursor import LogPosition
from prebook.notification.handlers import MAX_TEXT_CHARS
from tests.notification.conftest import Begin
from tests.notification.delivery import RIDER, TEXT, notify

START = LogPosition("", "")
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


async def read_log(begin: Begin, since: datetime = EARLIEST, after: LogPosition = START) -> list[DeliveryEntry]:
    async with begin() as work:
        return list(await work.list_deliveries(since, after, 1000))


def counts(entries: list[DeliveryEntry]) -> list[tuple[str, str, int]]:
    return [(entry.booking_id, entry.notice, entry.times_delivered) for entry in entries]


async def test_the_reply_names_the_notice(begin: Begin) -> None:
    assert await notify(begin, "b1", Notice.EXPIRED) == RiderNotified(notice=Notice.EXPIRED)


async def test_a_repeated_request_gets_a_reply_and_is_delivered_once(begin: Begin) -> None:
    replies = [await notify(begin, "b1", message_id=f"m{n}", text=f"{n}") for n in range(3)]

    assert replies == [RiderNotified(notice=Notice.CONFIRMED)] * 3
    assert counts(await read_log(begin)) == [("b1", "confirmed", 1)]


async def test_each_notice_of_a_booking_is_delivered(begin: Begin) -> None:
    for notice in (Notice.CONFIRMED, Notice.CANCELLED):
        await notify(begin, "b1", notice)
    await notify(begin, "b0")

    expected = [("b0", "confirmed", 1), ("b1", "cancelled", 1), ("b1", "confirmed", 1)]
    assert counts(await read_log(begin)) == expected


async def test_no_confirmation_is_delivered_after_a_cancellation(begin: Begin) -> None:
    replies = [
        await notify(begin, "b1", notice, message_id=f"m{notice}") for notice in (Notice.CANCELLED, Notice.CONFIRMED)
    ]

    assert replies == [RiderNotified(notice=Notice.CANCELLED), RiderNotified(notice=Notice.CONFIRMED)]
    assert counts(await read_log(begin)) == [("b1", "cancelled", 1)]


async def test_the_log_records_the_time_of_the_delivery(begin: Begin) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    await notify(begin, "b1")
    (entry,) = await read_log(begin)

    assert before < entry.delivered_at < datetime.now(UTC) + timedelta(seconds=1)
    assert await read_log(begin, since=entry.delivered_at) == [entry]
    assert await read_log(begin, since=entry.delivered_at + timedelta(microseconds=1)) == []


async def test_a_rollback_undoes_the_delivery(begin: Begin) -> None:
    async def deliver_and_fail() -> None:
        async with begin() as work:
            assert await work.deliver("b1", Notice.CONFIRMED, RIDER, TEXT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await deliver_and_fail()

    assert await read_log(begin) == []
    await notify(begin, "b1")
    assert counts(await read_log(begin)) == [("b1", "confirmed", 1)]


async def test_40_concurrent_requests_deliver_each_notice_once(begin_sql: Begin) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(notify(begin_sql, f"b{n % 4}", message_id=f"m{n}")) for n in range(40)]

    replies = [task.result() for task in tasks]
    assert replies == [RiderNotified(notice=Notice.CONFIRMED)] * 40
    assert counts(await read_log(begin_sql)) == [(f"b{n}", "confirmed", 1) for n in range(4)]


async def test_a_second_delivery_is_counted(begin_sql: Begin, engine: AsyncEngine) -> None:
    """The count shows a second delivery if the row that prevents it is missing."""
    await notify(begin_sql, "b1")
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM notified"))
    await notify(begin_sql, "b1")

    assert counts(await read_log(begin_sql)) == [("b1", "confirmed", 2)]


async def test_the_log_has_rider_and_truncated_text(begin_sql: Begin, engine: AsyncEngine) -> None:
    await notify(begin_sql, "b1", text="x" * (MAX_TEXT_CHARS + 1))

    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT rider_id, text FROM delivery"))).one()
    assert tuple(row) == (RIDER, "x" * MAX_TEXT_CHARS)


async def test_the_time_of_a_delivery_is_not_that_of_the_transaction(begin_sql: Begin) -> None:
    async with begin_sql() as work:
        began: Any = (await work.connection.execute(text("SELECT now()"))).scalar_one()
        await work.connection.execute(text("SELECT pg_sleep(0.02)"))
        await work.deliver("b1", Notice.CONFIRMED, RIDER, TEXT)
        (entry,) = await work.list_deliveries(EARLIEST, START, 1)

    assert entry.delivered_at >= began + timedelta(milliseconds=20)


async def test_no_personal_data_is_printed(begin: Begin, capfd: pytest.CaptureFixture[str]) -> None:
    await notify(begin, "b1")
    await notify(begin, "b1", message_id="m2")

    printed = capfd.readouterr()
    assert "canary" not in printed.out + printed.err
