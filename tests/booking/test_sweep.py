"""Sweeper: ends the wait of a booking whose deadline is gone, and of no other; in memory and on PostgreSQL."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.booking.domain.notification_attempts import MAX_NOTIFY_ATTEMPTS
from prebook.booking.process import awaited_reply
from prebook.booking.sql.work import BookingSql
from prebook.booking.use_cases.sweep import MIN_AGE, Sweeper
from prebook.contracts.ride import BookingState
from prebook.messaging.envelope import Envelope
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.testing.memory import MemoryDatabase
from tests.booking.booking_suite import BOOKING, NOW, BookingSuite, body, book

LATER = timedelta(minutes=5)
LOST_DEADLINES = ("DELETE FROM pending_reply", "UPDATE outbox SET state = 'sent', sent_at = now()")


def swept(flow: str) -> float:
    return REGISTRY.get_sample_value("prebook_bookings_swept_total", {"flow": flow}) or 0.0


def lose_deadlines(database: MemoryDatabase) -> None:
    """Remove every deadline and all waiting messages, as a forged reply or a wrong deletion would."""
    database.tables.pending_replies.clear()
    database.tables.outbox.clear()


async def test_a_booking_with_a_deadline_is_left_alone() -> None:
    suite = BookingSuite()
    await book(suite)
    suite.clock.now = NOW + LATER
    sweeper = Sweeper(suite.assembled.context)

    assert await sweeper.sweep() == 0
    suite.database.tables.pending_replies.clear()
    assert await sweeper.sweep() == 0, "its request waits in the outbox"


async def test_a_booking_without_a_deadline_is_ended_and_its_rider_is_notified() -> None:
    suite = BookingSuite()
    booking_id = (await book(suite)).json()["id"]
    before = swept("quote_fare")
    lose_deadlines(suite.database)
    sweeper = Sweeper(suite.assembled.context)
    assert await sweeper.sweep() == 0, "it is too young to be looked at"
    suite.clock.now = NOW + LATER

    assert await sweeper.sweep() == 1
    ended = suite.bookings[booking_id]
    assert (ended.state, ended.reason) == (BookingState.EXPIRED, "no fare: deadline")
    assert f"{booking_id}.notify_rider.expired" in suite.database.tables.outbox
    assert swept("quote_fare") - before == 1
    assert await sweeper.sweep() == 0


async def test_a_booking_that_is_stranded_by_the_id_of_its_own_reply_is_ended() -> None:
    """The inbox holds the id of its reply, by a message of another booking: its own deadline would be a duplicate."""
    suite = BookingSuite()
    booking_id = (await book(suite)).json()["id"]
    lose_deadlines(suite.database)
    suite.database.tables.inbox[f"{booking_id}.quote_fare.reply"] = None  # type: ignore[assignment]  # only the id counts
    suite.clock.now = NOW + LATER

    assert await Sweeper(suite.assembled.context).sweep() == 1
    assert suite.bookings[booking_id].state is BookingState.EXPIRED


async def test_a_booking_whose_wait_cannot_be_ended_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = BookingSuite()
    first = (await book(suite, key="k1")).json()["id"]
    second = (await book(suite, key="k2")).json()["id"]
    lose_deadlines(suite.database)
    suite.clock.now = NOW + LATER
    gateway = suite.assembled.context.gateway
    process = gateway.process

    async def fail_for_first(reply: Envelope) -> None:
        if reply.conversation_id == first:
            raise ValueError("a row that cannot be written")
        await process(reply)

    monkeypatch.setattr(gateway, "process", fail_for_first)

    assert await Sweeper(suite.assembled.context).sweep() == 1
    assert suite.bookings[first].state is BookingState.REQUESTED
    assert suite.bookings[second].state is BookingState.EXPIRED


async def test_a_rider_who_can_no_longer_be_notified_is_noted() -> None:
    suite = BookingSuite()
    booking_id = (await book(suite)).json()["id"]
    lose_deadlines(suite.database)
    suite.clock.now = NOW + LATER
    sweeper = Sweeper(suite.assembled.context)
    assert await sweeper.sweep() == 1
    lose_deadlines(suite.database)

    assert [await sweeper.sweep() for _ in range(3)] == [0, 1, 0]
    assert suite.bookings[booking_id].reason == "no fare: deadline; notification_failed"


@pytest.mark.parametrize("state", [BookingState.REJECTED, BookingState.CANCELLED])
def test_a_settled_booking_awaits_one_of_its_notices(state: BookingState) -> None:
    ended = BOOKING.ended(state, "a reason", NOW)
    awaited = awaited_reply(ended)
    assert awaited is not None
    assert (awaited.flow, awaited.keys[0], len(awaited.keys)) == ("notify_rider", state.value, MAX_NOTIFY_ATTEMPTS)
    assert awaited_reply(ended.notified(NOW)) is None


@pytest.mark.real
async def test_the_sweep_on_postgresql(engine: AsyncEngine, begin_sql: BeginUnitOfWork[BookingSql]) -> None:
    suite = BookingSuite(begin=begin_sql)
    async with suite.client() as client:
        created = [
            await client.post("/v1/bookings", json=body(), headers={"idempotency-key": f"k{n}"}) for n in range(3)
        ]
    suite.clock.now = NOW + MIN_AGE + LATER
    sweeper = Sweeper(suite.assembled.context)
    assert await sweeper.sweep() == 0
    async with engine.begin() as connection:
        for statement in LOST_DEADLINES:
            await connection.execute(text(f"{statement} WHERE conversation_id = :id"), {"id": created[1].json()["id"]})

    assert await sweeper.sweep() == 1
    assert await _states(engine) == {"requested": 2, "expired": 1}
    assert await Sweeper(suite.assembled.context).sweep() == 0, "the rider of the ended booking is being notified"


async def _states(engine: AsyncEngine) -> dict[str, Any]:
    async with engine.connect() as connection:
        rows = (await connection.execute(text("SELECT state, count(*) AS n FROM booking GROUP BY 1"))).all()
        return {row.state: row.n for row in rows}
