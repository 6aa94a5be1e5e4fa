"""Pitfalls of PostgreSQL and of its client (2.3) that our adapters meet, on a real one."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import BeginUnitOfWork as BeginOf
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres import engine as engines
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, open_connection, unit_of_work_factory
from tests.conditions import wait_until
from tests.messaging.examples import request
from tests.messaging.outbox.test_handoff import CountingDatabase
from tests.messaging.outbox.test_relay import enqueue, running, states
from tests.operations.examples import Begin
from tests.traps.place import named


async def test_a_row_that_commits_late_is_sent_all_the_same(begin: Begin, engine: AsyncEngine) -> None:
    """Pitfall 2.3.1: numbers are given out before the commit, so the greater one may be seen first."""
    outbox = await emptied(engine)
    async with begin() as slow:
        await slow.record_message(named("slow"))
        await slow.enqueue([posting("late")])
        await slow.flush()
        async with begin() as quick:
            await quick.enqueue([posting("early")])
        assert await claimed(outbox) == ["early"]
    assert await claimed(outbox) == ["late"], "its number is the smaller one"


async def test_forty_deliveries_of_one_message_at_once_have_one_effect(engine: AsyncEngine) -> None:
    """Pitfall 2.3.5: the inbox is claimed first, in the transaction of the effect. Looking and then acting is not."""
    await emptied(engine)
    message, begin = named("forty"), unit_of_work_factory(engine, SqlUnitOfWork)

    async def deliver() -> None:
        async with begin() as work:
            if await work.record_message(message):
                await asyncio.sleep(0.01)
                await work.enqueue([posting(f"effect-{id(work)}")])

    await asyncio.gather(*(deliver() for _ in range(40)))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM outbox"))).scalar() == 1


async def test_what_is_undone_is_not_known(engine: AsyncEngine) -> None:
    """Pitfall 2.3.5: a claim that outlived its effect would lose the message."""
    message, begin = named("undone"), unit_of_work_factory(engine, SqlUnitOfWork)
    with pytest.raises(RuntimeError, match="in the middle"):
        await _interrupted(begin, message)
    async with begin() as work:
        assert await work.record_message(message)


async def test_a_lost_wake_up_is_made_up_for_by_the_poll() -> None:
    """Pitfall 2.3.9: a notification is a hint."""
    database, seen = CountingDatabase(), list[str]()

    async def send(row: LeasedRow) -> None:
        seen.append(row.envelope.id)

    async with running(database, send):
        await wait_until(lambda: database.claims == 1)
        await enqueue(database, "nobody woke us")
        await wait_until(lambda: set(states(database).values()) == {"sent"})
    assert seen == ["nobody woke us"]


async def test_cancelled_queries_leave_nothing_behind(engine: AsyncEngine) -> None:
    """Pitfall 2.3.10."""

    async def ask() -> None:
        async with open_connection(engine) as connection:
            await connection.execute(text("SELECT pg_sleep(30)"))

    tasks = [asyncio.create_task(ask()) for _ in range(engines.POOL_SIZE)]
    await wait_until(lambda: _checked_out(engine) == engines.POOL_SIZE)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await wait_until(lambda: _checked_out(engine) == 0)
    async with open_connection(engine) as connection:
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
        assert (await connection.execute(text(asleep))).scalar() == 0


async def test_a_pool_that_is_used_up_is_an_outage_and_not_the_messages_fault(
    operations_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pitfall 2.3.10: whoever waits for a connection is told so in time."""
    monkeypatch.setattr(engines, "CHECKOUT_TIMEOUT_S", 0.1)
    engine = engines.create_engine("operations", operations_url, max_overflow=0)
    try:
        async with asyncio.timeout(5):
            held = [await engine.connect() for _ in range(engines.POOL_SIZE)]
            with pytest.raises(Unreachable, match="no connection to the database"):
                await open_connection(engine).__aenter__()
            for connection in held:
                await connection.close()
    finally:
        await engine.dispose()


@pytest.mark.parametrize("name", ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"])
async def test_nothing_is_waited_for_without_end(engine: AsyncEngine, name: str) -> None:
    """Pitfalls 2.3.2 and 2.3.13: an open transaction holds up whoever cleans, and whoever wants its locks."""
    async with engine.connect() as connection:
        shown = (await connection.execute(text(f"SHOW {name}"))).scalar()
    assert shown not in {None, "", "0"}


async def emptied(engine: AsyncEngine) -> SqlOutbox:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    return SqlOutbox(engine, "traps")


async def claimed(outbox: SqlOutbox) -> list[str]:
    """Claimed and sent: what a relay does at each look."""
    rows = await outbox.claim(10, lease_s=30.0, full_routes=[])
    await outbox.mark_sent([row.seq for row in rows])
    return [row.envelope.id for row in rows]


def posting(message_id: str) -> OutboxMessage:
    return OutboxMessage(request(id=message_id), "broker", message_id)


async def _interrupted(begin: BeginOf[SqlUnitOfWork], message: Envelope) -> None:
    async with begin() as work:
        assert await work.record_message(message)
        raise RuntimeError("in the middle")


def _checked_out(engine: AsyncEngine) -> int:
    return int(engine.pool.checkedout())  # type: ignore[attr-defined]
