"""A relay lives as long as its session, and a session that has gone, said or unsaid, is missed soon."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres import relay_notifier as wakeups
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.relay_notifier import RelayNotifier
from prebook.runtime.loops import cancel_and_wait, run_forever
from tests.conditions import poll_until
from tests.databases import Databases
from tests.messaging.examples import request
from tests.postgres.holes import through_hole

OWNER = "a relay under test"
ALIVE = "SELECT pid FROM pg_stat_activity WHERE application_name = $1"


@asynccontextmanager
async def listening(url: str, beside: str) -> AsyncIterator[RelayNotifier]:
    """``url`` is what it listens at; ``beside``, where its outbox is."""

    async def send(row: LeasedRow) -> None:
        raise AssertionError(f"nothing is to be sent, and {row.seq} was")

    engine = create_engine("pricing", beside)
    yield RelayNotifier("pricing", url, OWNER, Relay(SqlOutbox(engine, OWNER), NullObserver()))
    await engine.dispose()


async def test_a_session_that_is_ended_is_opened_again(databases: Databases) -> None:
    url = databases.create_for("pricing")
    keeper = await asyncpg.connect(asyncpg_dsn(databases.create_migrated("pricing")))
    async with listening(url, url) as wakeup:
        running = asyncio.create_task(run_forever("wakeup", wakeup.run))
        await poll_until(lambda: _known(keeper, 0))
        first = await keeper.fetchval(ALIVE, OWNER)
        await keeper.execute("SELECT pg_terminate_backend($1)", first)
        await poll_until(lambda: _known(keeper, first))
        await cancel_and_wait([running])
    await keeper.close()


async def _known(keeper: "asyncpg.Connection[asyncpg.Record]", before: int) -> bool:
    return await keeper.fetchval(ALIVE, OWNER) not in {None, before}


async def test_a_session_that_has_gone_silent_is_given_up(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "LIVENESS_CHECK_INTERVAL_S", 0.1)
    monkeypatch.setattr(wakeups, "LIVENESS_TIMEOUT_S", 1.0)
    url = databases.create_for("pricing")
    keeper = await asyncpg.connect(asyncpg_dsn(databases.create_migrated("pricing")))
    async with through_hole(url) as (made, hole), asyncio.timeout(20):
        through = made.messaging.url
        away = f"{urlsplit(url).scheme}://{through.username}@127.0.0.1:{through.port}/{through.database}"
        async with listening(away, url) as wakeup:
            running = asyncio.create_task(wakeup.run())
            await poll_until(lambda: _known(keeper, 0))
            hole.open = True
            await asyncio.wait([running])
            assert isinstance(running.exception(), TimeoutError)
    await keeper.close()


@pytest.mark.parametrize("turns", range(4))
async def test_it_ends_though_something_is_committed_in_the_same_turn(databases: Databases, turns: int) -> None:
    url = databases.create_for("pricing")
    keeper = await asyncpg.connect(asyncpg_dsn(databases.create_migrated("pricing")))
    async with listening(url, url) as wakeup:
        running = asyncio.create_task(run_forever("wakeup", wakeup.run))
        await poll_until(lambda: _known(keeper, 0))
        with wakeup.hand_off([OutboxMessage(request(id="left"), "broker", "k")]):
            pass  # the relay does not run: it is left to others
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=5)
        running.cancel()
        assert done
    await keeper.close()


async def test_a_silent_database_does_not_hold_up_the_end(databases: Databases) -> None:
    async with through_hole(databases.create_for("pricing")) as (made, hole):
        await made.check()
        hole.open = True
        async with asyncio.timeout(15):
            await made.dispose()
