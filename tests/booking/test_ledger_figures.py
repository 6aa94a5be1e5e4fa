"""Clocks of recent bookings on PostgreSQL: exact, by plan, of what ended in the window."""

from dataclasses import replace
from datetime import timedelta

import pytest

from prebook.booking.sql.work import BookingSql
from prebook.booking.store import Clock, IdempotencyRecord, PlanClock
from prebook.contracts.booking import ClockFigures
from prebook.contracts.plan import Coupling
from prebook.contracts.ride import BookingState, StateChange
from prebook.flows import FLOWS
from prebook.messaging.clock import utc_now
from prebook.messaging.unit_of_work import BeginUnitOfWork
from tests.booking.booking_suite import BOOKING, PLAN, BookingSuite, body

pytestmark = pytest.mark.real
ONE_WAY = dict.fromkeys(FLOWS, Coupling.ONE_WAY)


async def store_booking(
    begin: BeginUnitOfWork[BookingSql],
    name: str,
    *,
    age_s: float = 30.0,
    settled_ms: float | None = None,
    notified_ms: float | None = None,
    plan: dict[str, Coupling] = ONE_WAY,
) -> None:
    """Store a booking that was requested ``age_s`` seconds ago, and rejected and notified so much later."""
    requested_at = utc_now() - timedelta(seconds=age_s)
    booking = replace(
        BOOKING, id=name, key=name, plan=plan, history=(StateChange(state=BookingState.REQUESTED, at=requested_at),)
    )
    record = IdempotencyRecord(
        key=booking.rider_key, booking_id=name, fingerprint=b"\x00", created_at=requested_at, response=None
    )
    async with begin() as work:
        await work.create(booking, record)
    if settled_ms is None:
        return
    ended = booking.ended(BookingState.REJECTED, "no fleet", requested_at + timedelta(milliseconds=settled_ms))
    if notified_ms is not None:
        ended = ended.notified(requested_at + timedelta(milliseconds=notified_ms))
    async with begin() as work:
        await work.save(ended)


async def read_clocks(begin: BeginUnitOfWork[BookingSql], window_s: float = 60.0) -> list[PlanClock]:
    async with begin() as work:
        return sorted(await work.read_clocks(window_s), key=lambda each: (str(each.plan), each.clock))


async def test_quantiles_are_values_at_the_nearest_rank(begin_sql: BeginUnitOfWork[BookingSql]) -> None:
    for n in range(1, 21):
        await store_booking(begin_sql, f"bk_{n}", settled_ms=10 * n, notified_ms=20 * n)
    await store_booking(begin_sql, "bk_open")
    await store_booking(begin_sql, "bk_not_notified", settled_ms=1000, plan=PLAN)

    assert await read_clocks(begin_sql) == [
        PlanClock(ONE_WAY, Clock.NOTIFIED, ClockFigures(20, 200.0, 400.0)),
        PlanClock(ONE_WAY, Clock.SETTLED, ClockFigures(20, 100.0, 200.0)),
        PlanClock(PLAN, Clock.SETTLED, ClockFigures(1, 1000.0, 1000.0)),
    ]


async def test_the_window_ends_with_the_outcome_and_not_with_the_request(
    begin_sql: BeginUnitOfWork[BookingSql],
) -> None:
    await store_booking(begin_sql, "bk_slow", age_s=90, settled_ms=60_000)
    await store_booking(begin_sql, "bk_old", age_s=90, settled_ms=1000, notified_ms=60_000)

    assert await read_clocks(begin_sql) == [
        PlanClock(ONE_WAY, Clock.NOTIFIED, ClockFigures(1, 60_000.0, 60_000.0)),
        PlanClock(ONE_WAY, Clock.SETTLED, ClockFigures(1, 60_000.0, 60_000.0)),
    ]


async def test_the_console_reads_totals_and_clocks(begin_sql: BeginUnitOfWork[BookingSql]) -> None:
    suite = BookingSuite(Coupling.REQUEST_REPLY, begin=begin_sql)
    async with suite.client() as rider:
        for n in range(3):
            assert (
                await rider.post("/v1/bookings", json=body(), headers={"idempotency-key": f"k{n}"})
            ).status_code == 202
    await store_booking(begin_sql, "bk_settled", settled_ms=40, plan=dict.fromkeys(FLOWS, Coupling.REQUEST_REPLY))
    async with suite.console() as console:
        totals = (await console.get("/v1/ledger/totals")).json()["totals"]
        clocks = (await console.get("/v1/ledger/clocks", params={"window_s": 60})).json()
        refused = await console.get("/v1/ledger/clocks", params={"window_s": 0})
    plan = dict.fromkeys(FLOWS, "request_reply")
    assert sorted(totals, key=lambda total: total["bookings"]) == [
        {"couplings": plan, "state": "rejected", "bookings": 1},
        {"couplings": plan, "state": "requested", "bookings": 3},
    ]
    (found,) = clocks["plans"]
    assert (clocks["window_s"], found["couplings"]) == (60, plan)
    assert found["accepted"]["count"] == 3
    assert 0 < found["accepted"]["p50_ms"] <= found["accepted"]["p99_ms"]
    assert found["settled"] == {"count": 1, "p50_ms": 40.0, "p99_ms": 40.0}
    assert found["notified"] == {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0}
    assert refused.status_code == 400
