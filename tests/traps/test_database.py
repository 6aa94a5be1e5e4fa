"""Pitfalls of PostgreSQL and of its client (2.3), each tried with the adapters on a real server."""

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
from prebook.postgres.connection import acquire
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.conditions import wait_until
from tests.messaging.examples import request
from tests.messaging.outbox.test_handoff import CountingDatabase
from tests.messaging.outbox.test_relay import enqueue, running, states
from tests.operations.examples import Begin
from tests.traps.trap_queue import unique_request


async def test_a_row_that_commits_late_is_still_sent(begin: Begin, engine: AsyncEngine) -> None:
    """Pitfall 2.3.1: sequence numbers are assigned before the commit, so a greater one may be visible first."""
    outbox = await empty_outbox(engine)
    async with begin() as slow:
        await slow.record_message(unique_request("slow"))
        await slow.enqueue([outbox_message("late")])
        await slow.flush()
        async with begin() as quick:
            await quick.enqueue([outbox_message("early")])
        assert await claim_and_send(outbox) == ["early"]
    assert await claim_and_send(outbox) == ["late"], "its sequence number is smaller, and it is sent nevertheless"


async def test_forty_concurrent_deliveries_of_one_message_have_one_effect(engine: AsyncEngine) -> None:
    """Pitfall 2.3.5: the inbox row is inserted first, in the transaction of the effect; check-then-act would race."""
    await empty_outbox(engine)
    message = unique_request("forty")
    begin = unit_of_work_factory(engine, SqlUnitOfWork)

    async def deliver() -> None:
        async with begin() as work:
            if await work.record_message(message):
                await asyncio.sleep(0.01)
                await work.enqueue([outbox_message(f"effect-{id(work)}")])

    await asyncio.gather(*(deliver() for _ in range(40)))
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM outbox"))).scalar() == 1


async def test_a_rolled_back_message_is_not_in_the_inbox(engine: AsyncEngine) -> None:
    """Pitfall 2.3.5: an inbox row that outlives its rolled-back effect would lose the message."""
    message = unique_request("rolled-back")
    begin = unit_of_work_factory(engine, SqlUnitOfWork)
    with pytest.raises(RuntimeError, match="within the transaction"):
        await _fail_within_transaction(begin, message)
    async with begin() as work:
        assert await work.record_message(message)


async def test_the_poll_replaces_a_lost_notification() -> None:
    """Pitfall 2.3.9: a notification is only a hint and may be lost."""
    database = CountingDatabase()
    sent: list[str] = []

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    async with running(database, send):
        await wait_until(lambda: database.claims == 1)
        await enqueue(database, "without-notification")
        await wait_until(lambda: set(states(database).values()) == {"sent"})
    assert sent == ["without-notification"]


async def test_cancelled_queries_leave_no_connection_and_no_statement(engine: AsyncEngine) -> None:
    """Pitfall 2.3.10: cancelled queries may leak connections."""

    async def query() -> None:
        async with acquire(engine) as connection:
            await connection.execute(text("SELECT pg_sleep(30)"))

    tasks = [asyncio.create_task(query()) for _ in range(engines.POOL_SIZE)]
    await wait_until(lambda: _checked_out(engine) == engines.POOL_SIZE)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await wait_until(lambda: _checked_out(engine) == 0)
    async with acquire(engine) as connection:
        active_sleeps = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'"
        assert (await connection.execute(text(active_sleeps))).scalar() == 0


async def test_an_exhausted_pool_is_an_outage_of_the_database(
    operations_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pitfall 2.3.10: a wait for a connection ends in time, with an error that names its reason."""
    monkeypatch.setattr(engines, "CHECKOUT_TIMEOUT_S", 0.1)
    engine = engines.create_engine("operations", operations_url, max_overflow=0)
    try:
        async with asyncio.timeout(5):
            connections = [await engine.connect() for _ in range(engines.POOL_SIZE)]
            with pytest.raises(Unreachable, match="no connection to the database"):
                await acquire(engine).__aenter__()
            for connection in connections:
                await connection.close()
    finally:
        await engine.dispose()


@pytest.mark.parametrize("name", ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"])
async def test_statements_locks_and_idle_transactions_have_timeouts(engine: AsyncEngine, name: str) -> None:
    """Pitfalls 2.3.2 and 2.3.13: an open transaction holds up the vacuum and every session that needs its locks."""
    async with engine.connect() as connection:
        value = (await connection.execute(text(f"SHOW {name}"))).scalar()
    assert value not in {None, "", "0"}


async def empty_outbox(engine: AsyncEngine) -> SqlOutbox:
    """Delete all outbox rows and return the store."""
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    return SqlOutbox(engine, "traps")


async def claim_and_send(outbox: SqlOutbox) -> list[str]:
    """Claim all rows and mark them as sent, as a relay does at each poll; return their ids."""
    rows = await outbox.claim(10, lease_s=30.0, full_routes=[])
    await outbox.mark_sent([row.seq for row in rows])
    return [row.envelope.id for row in rows]


def outbox_message(message_id: str) -> OutboxMessage:
    return OutboxMessage(request(id=message_id), "broker", message_id)


async def _fail_within_transaction(begin: BeginOf[SqlUnitOfWork], message: Envelope) -> None:
    async with begin() as work:
        assert await work.record_message(message)
        raise RuntimeError("within the transaction")


def _checked_out(engine: AsyncEngine) -> int:
    return int(engine.pool.checkedout())  # type: ignore[attr-defined]
