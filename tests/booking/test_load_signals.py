"""Load signals from real tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.booking import process
from prebook.booking.load_shedding.shedder import FLOWS_UNTIL_SETTLED
from prebook.booking.sql.load_signals import RATE_WINDOW_S
from prebook.booking.sql.work import BookingSql
from prebook.booking.store import IdempotencyRecord, LoadSignals
from prebook.booking.use_cases.book import CreateBooking
from prebook.contracts.plan import Coupling, Plan
from prebook.contracts.ride import BookingState, StateChange
from prebook.flows import FLOWS
from prebook.messaging.envelope import Envelope, MessageKind, message_id, reply_id
from prebook.messaging.staging import MessageContext
from prebook.messaging.unit_of_work import BeginUnitOfWork
from prebook.patterns.trace import NO_TRACE
from prebook.testing.configuration import make_policies
from tests.booking.booking_suite import BOOKING, QUOTED, BookingSuite

pytestmark = pytest.mark.real
QUOTE_BY_ONE_WAY = ("quote_fare", Coupling.ONE_WAY)
MAX_ROWS = 2_000
DEADLINE_S = make_policies()["quote_fare"].deadline_s


async def request_fare(begin: BeginUnitOfWork[BookingSql], name: str, coupling: Coupling = Coupling.ONE_WAY) -> None:
    """Store a booking with its pending fare request, as a rider's request does."""
    now = datetime.now(UTC)
    plan = dict.fromkeys(FLOWS, coupling)
    booking = replace(
        BOOKING, id=name, key=name, plan=plan, history=(StateChange(state=BookingState.REQUESTED, at=now),)
    )
    gateway = BookingSuite(begin=begin).assembled.gateway
    record = IdempotencyRecord(
        key=replace(BOOKING, key=name).rider_key, booking_id=name, fingerprint=b"", created_at=now
    )
    await gateway.execute(CreateBooking(process.start(booking), record), MessageContext(name, plan, NO_TRACE, now))


async def record_reply(begin: BeginUnitOfWork[BookingSql], name: str, plan: Plan) -> None:
    reply = Envelope(
        id=reply_id(message_id(name, "quote_fare")),
        kind=MessageKind.REPLY,
        flow="quote_fare",
        body=QUOTED,
        source="pricing",
        conversation_id=name,
        time=datetime.now(UTC),
        plan=plan,
    )
    async with begin() as work:
        assert await work.record_message(reply)


async def read_signals(begin: BeginUnitOfWork[BookingSql]) -> LoadSignals:
    async with begin() as work:
        return await work.read_load_signals(FLOWS_UNTIL_SETTLED, MAX_ROWS)


async def change(engine: AsyncEngine, statement: str, **values: object) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def test_empty_tables_have_no_load(begin_sql: BeginUnitOfWork[BookingSql]) -> None:
    assert await read_signals(begin_sql) == LoadSignals()


async def test_pending_requests_are_counted_by_flow_and_coupling_until_their_reply(
    begin_sql: BeginUnitOfWork[BookingSql],
) -> None:
    for name in ("b1", "b2", "b3"):
        await request_fare(begin_sql, name)
    await request_fare(begin_sql, "b4", Coupling.ASYNC_API)
    await record_reply(begin_sql, "b1", dict.fromkeys(FLOWS, Coupling.ONE_WAY))

    signals = await read_signals(begin_sql)
    assert signals.pending_requests == {QUOTE_BY_ONE_WAY: 2, ("quote_fare", Coupling.ASYNC_API): 1}
    assert DEADLINE_S - 10.0 < signals.time_to_deadline_s[QUOTE_BY_ONE_WAY] <= DEADLINE_S
    assert signals.replies_per_s == {QUOTE_BY_ONE_WAY: pytest.approx(1 / RATE_WINDOW_S)}
    assert 0.0 <= signals.reply_age_s[QUOTE_BY_ONE_WAY] < RATE_WINDOW_S


@pytest.mark.parametrize("state", [BookingState.EXPIRED, BookingState.FAILED])
async def test_a_timeout_reply_is_no_sign_of_a_provider(
    begin_sql: BeginUnitOfWork[BookingSql], engine: AsyncEngine, state: BookingState
) -> None:
    await request_fare(begin_sql, "b1")
    await record_reply(begin_sql, "b1", dict.fromkeys(FLOWS, Coupling.ONE_WAY))
    await change(engine, "UPDATE booking SET state = :state", state=state.value)

    assert (await read_signals(begin_sql)).reply_age_s == {}


async def test_the_outbox_age_is_that_of_the_oldest_request_to_the_broker(
    begin_sql: BeginUnitOfWork[BookingSql], engine: AsyncEngine
) -> None:
    await request_fare(begin_sql, "b1")
    await change(engine, "UPDATE outbox SET route = 'broker', created_at = now() - make_interval(secs => 40)")
    await request_fare(begin_sql, "b2")
    assert (await read_signals(begin_sql)).outbox_age_s == pytest.approx(40.0, abs=5.0)

    await change(engine, "UPDATE outbox SET not_before = now() + make_interval(secs => 60)")
    assert (await read_signals(begin_sql)).outbox_rows == 0
    await change(engine, "UPDATE outbox SET failures = 1")
    assert (await read_signals(begin_sql)).outbox_rows == 2

    await change(engine, "UPDATE outbox SET flow = 'booking_ended'")
    assert ((await read_signals(begin_sql)).outbox_rows, (await read_signals(begin_sql)).outbox_age_s) == (2, 0.0)


async def test_the_number_of_scanned_rows_is_bounded(
    begin_sql: BeginUnitOfWork[BookingSql], engine: AsyncEngine
) -> None:
    await request_fare(begin_sql, "b1")
    await change(
        engine,
        "INSERT INTO pending_reply (request_id, flow, conversation_id, message, due_at) "
        "SELECT 'r' || n, 'quote_fare', 'b1', '', now() + make_interval(secs => 20) "
        "FROM generate_series(1, :rows) AS n",
        rows=3 * MAX_ROWS,
    )

    signals = await read_signals(begin_sql)
    assert signals.pending_requests == {QUOTE_BY_ONE_WAY: MAX_ROWS}
    assert signals.time_to_deadline_s[QUOTE_BY_ONE_WAY] < timedelta(seconds=20).total_seconds()


@pytest.mark.parametrize("replies_per_s", [1_000, 5_000, 15_000])
async def test_the_rate_of_replies_is_right_at_any_rate(
    begin_sql: BeginUnitOfWork[BookingSql], engine: AsyncEngine, replies_per_s: int
) -> None:
    await request_fare(begin_sql, "b1")
    await change(
        engine,
        "INSERT INTO inbox (message_id, flow, conversation_id, received_at) "
        "SELECT 'r' || n, 'quote_fare', 'b1', now() - make_interval(secs => n / CAST(:per_s AS float8)) "
        "FROM generate_series(1, :rows) AS n",
        per_s=replies_per_s,
        rows=2 * MAX_ROWS,
    )
    assert (await read_signals(begin_sql)).replies_per_s[QUOTE_BY_ONE_WAY] == pytest.approx(replies_per_s, rel=0.01)
