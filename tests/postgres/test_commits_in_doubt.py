"""A commit whose answer nobody hears may take effect long after: what it wrote is neither lost nor overtaken."""

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

# What is deferred runs within the COMMIT: this one waits for whoever holds the lock, and lets itself not be cancelled.
SLOW = """
    CREATE FUNCTION notification.slow() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        LOOP
            BEGIN
                PERFORM pg_advisory_xact_lock(1);
                RETURN NULL;
            EXCEPTION WHEN query_canceled THEN
            END;
        END LOOP;
    END $$;
    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON notification.outbox DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.message_id = 'first') EXECUTE FUNCTION notification.slow()"""
WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted)"
WRITTEN = "SELECT EXISTS (SELECT FROM notification.outbox WHERE message_id = 'first')"


class Suite:
    """A relay of this process, what it sends, and an administrator who holds the commit of ``first``."""

    def __init__(self, engine: AsyncEngine, upkeep: AsyncEngine, keeper: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.engine, self.keeper, self.sent = engine, keeper, list[str]()
        self.relay = Relay(SqlOutbox(upkeep, "relay"), NullObserver())
        self.begin: BeginUnitOfWork[SqlUnitOfWork] = unit_of_work_factory(engine, SqlUnitOfWork, self.relay.hand_off)
        self.works: list[SqlUnitOfWork] = []

    async def _send(self, row: LeasedRow) -> None:
        self.sent.append(row.envelope.id)

    async def post(self, name: str) -> None:
        async with self.begin() as work:
            self.works.append(work)
            await work.record_message(request(id=f"cause of {name}"))
            await work.enqueue([OutboxMessage(request(id=name), "broker", "k")])

    async def holds(self, question: str) -> bool:
        return bool(await self.keeper.fetchval(question))


@pytest.fixture
async def suite(databases: Databases) -> AsyncIterator[Suite]:
    admin = databases.create_migrated("notification")
    keeper, url = await asyncpg.connect(asyncpg_dsn(admin)), role_url(admin, "notification")
    await keeper.execute(SLOW)
    engine, upkeep = create_engine("notification", url), create_engine("notification", url)
    suite = Suite(engine, upkeep, keeper)
    async with _running(suite):
        yield suite
    await engine.dispose()
    await upkeep.dispose()
    await keeper.close()


@asynccontextmanager
async def _running(suite: Suite) -> AsyncIterator[None]:
    task = asyncio.create_task(run_forever("relay", lambda: suite.relay.run(suite._send)))
    await wait_until(lambda: suite.relay._accepts_handoffs)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _cut(suite: Suite, _: "asyncio.Task[None]") -> None:
    suite.works[0].connection._driver.terminate()


def _cancelled(_: Suite, task: "asyncio.Task[None]") -> None:
    task.cancel()


@pytest.mark.parametrize("broken_off", [_cut, _cancelled])
async def test_what_comes_after_it_waits_until_it_is_known(
    suite: Suite, broken_off: Callable[[Suite, "asyncio.Task[None]"], None]
) -> None:
    await suite.keeper.execute("SELECT pg_advisory_lock(1)")
    task = asyncio.create_task(suite.post("first"))
    await poll_until(lambda: suite.holds(WAITING))
    broken_off(suite, task)
    with suppress(asyncio.CancelledError, Unreachable):
        await task
    await suite.keeper.execute("SELECT pg_advisory_unlock(1)")
    await poll_until(lambda: suite.holds(WRITTEN))
    await suite.post("second")
    await wait_until(lambda: suite.sent == ["first", "second"], timeout_s=5.0)


async def test_nobody_waits_for_a_commit_without_end(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite.engine.pool, "command_timeout", CoarseTimeout(0.2))
    monkeypatch.setattr(sender, "UNCERTAIN_FOR_S", 5.0)
    await suite.keeper.execute("SELECT pg_advisory_lock(1)")
    with pytest.raises(Unreachable, match="no answer from the database"):
        await suite.post("first")
    await suite.keeper.execute("SELECT pg_advisory_unlock(1)")
    await wait_until(lambda: suite.sent == ["first"], timeout_s=5.0)
