"""A commit without a response may take effect later: its rows are neither lost nor overtaken."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.asyncio_tools import CoarseTimeout
from prebook.messaging.errors import Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox import sender
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import BeginUnitOfWork, OutboxMessage
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.runtime.loops import run_forever
from tests.conditions import poll_until, wait_until
from tests.databases import Databases, role_url
from tests.messaging.examples import request

# A deferred trigger runs within the COMMIT. This one waits for the lock and ignores cancellation.
DELAY_COMMIT = """
    CREATE FUNCTION notification.delay_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        LOOP
            BEGIN
                PERFORM pg_advisory_xact_lock(1);
                RETURN NULL;
            EXCEPTION WHEN query_canceled THEN
            END;
        END LOOP;
    END $$;
    CREATE CONSTRAINT TRIGGER delay_commit AFTER INSERT ON notification.outbox DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.message_id = 'first') EXECUTE FUNCTION notification.delay_commit()"""
COMMIT_IS_WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted)"
ROW_IS_COMMITTED = "SELECT EXISTS (SELECT FROM notification.outbox WHERE message_id = 'first')"


class DelayedCommit:
    """A relay of this process with its sent messages, and an administrator who can delay the commit of ``first``."""

    def __init__(
        self, engine: AsyncEngine, relay_engine: AsyncEngine, admin_connection: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        self.engine = engine
        self.admin_connection = admin_connection
        self.sent: list[str] = []
        self.relay = Relay(SqlOutbox(relay_engine, "relay"), NullObserver())
        self.begin: BeginUnitOfWork[SqlUnitOfWork] = unit_of_work_factory(engine, SqlUnitOfWork, self.relay.hand_off)
        self.works: list[SqlUnitOfWork] = []

    async def _send(self, row: LeasedRow) -> None:
        self.sent.append(row.envelope.id)

    async def enqueue(self, name: str) -> None:
        async with self.begin() as work:
            self.works.append(work)
            await work.record_message(request(id=f"request for {name}"))
            await work.enqueue([OutboxMessage(request(id=name), "broker", "k")])

    async def holds(self, condition: str) -> bool:
        return bool(await self.admin_connection.fetchval(condition))


@pytest.fixture
async def delayed(databases: Databases) -> AsyncIterator[DelayedCommit]:
    admin = databases.create_migrated("notification")
    admin_connection, url = await asyncpg.connect(asyncpg_dsn(admin)), role_url(admin, "notification")
    await admin_connection.execute(DELAY_COMMIT)
    engine, relay_engine = create_engine("notification", url), create_engine("notification", url)
    delayed = DelayedCommit(engine, relay_engine, admin_connection)
    async with _run_relay(delayed):
        yield delayed
    await engine.dispose()
    await relay_engine.dispose()
    await admin_connection.close()


@asynccontextmanager
async def _run_relay(delayed: DelayedCommit) -> AsyncIterator[None]:
    task = asyncio.create_task(run_forever("relay", lambda: delayed.relay.run(delayed._send)))
    await wait_until(lambda: delayed.relay._accepts_handoffs)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _close_connection(delayed: DelayedCommit, _: "asyncio.Task[None]") -> None:
    delayed.works[0].connection._driver.terminate()


def _cancel(_: DelayedCommit, task: "asyncio.Task[None]") -> None:
    task.cancel()


@pytest.mark.parametrize("interrupt", [_close_connection, _cancel])
async def test_a_later_row_waits_for_an_uncertain_commit(
    delayed: DelayedCommit, interrupt: Callable[[DelayedCommit, "asyncio.Task[None]"], None]
) -> None:
    await delayed.admin_connection.execute("SELECT pg_advisory_lock(1)")
    task = asyncio.create_task(delayed.enqueue("first"))
    await poll_until(lambda: delayed.holds(COMMIT_IS_WAITING))
    interrupt(delayed, task)
    with suppress(asyncio.CancelledError, Unreachable):
        await task
    await delayed.admin_connection.execute("SELECT pg_advisory_unlock(1)")
    await poll_until(lambda: delayed.holds(ROW_IS_COMMITTED))
    await delayed.enqueue("second")
    await wait_until(lambda: delayed.sent == ["first", "second"], timeout_s=5.0)


async def test_a_commit_has_a_timeout(delayed: DelayedCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delayed.engine.pool, "command_timeout", CoarseTimeout(0.2))
    monkeypatch.setattr(sender, "UNCERTAIN_FOR_S", 5.0)
    await delayed.admin_connection.execute("SELECT pg_advisory_lock(1)")
    with pytest.raises(Unreachable, match="no answer from the database"):
        await delayed.enqueue("first")
    await delayed.admin_connection.execute("SELECT pg_advisory_unlock(1)")
    await wait_until(lambda: delayed.sent == ["first"], timeout_s=5.0)
