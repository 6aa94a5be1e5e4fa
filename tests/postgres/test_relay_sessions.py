"""The session of a relay's notifier: one that stops responding is detected soon, and a closed one is opened again."""

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
from prebook.postgres import relay_notifier
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.relay_notifier import RelayNotifier
from prebook.runtime.loops import cancel_and_wait, run_forever
from tests.conditions import poll_until
from tests.databases import Databases
from tests.messaging.examples import request
from tests.postgres.black_hole_proxy import open_engines

OWNER = "a relay under test"
SESSION_PID = "SELECT pid FROM pg_stat_activity WHERE application_name = $1"


@asynccontextmanager
async def open_notifier(url: str, outbox_url: str) -> AsyncIterator[RelayNotifier]:
    """Open a notifier that listens at ``url``, for an outbox at ``outbox_url``."""

    async def send(row: LeasedRow) -> None:
        raise AssertionError(f"row {row.seq} was sent unexpectedly")

    engine = create_engine("pricing", outbox_url)
    yield RelayNotifier("pricing", url, OWNER, Relay(SqlOutbox(engine, OWNER), NullObserver()))
    await engine.dispose()


async def test_a_closed_session_is_opened_again(databases: Databases) -> None:
    url = databases.create_for("pricing")
    admin_connection = await asyncpg.connect(asyncpg_dsn(databases.create_migrated("pricing")))
    async with open_notifier(url, url) as notifier:
        running = asyncio.create_task(run_forever("notifier", notifier.run))
        await poll_until(lambda: _has_session(admin_connection, 0))
        first = await admin_connection.fetchval(SESSION_PID, OWNER)
        await admin_connection.execute("SELECT pg_terminate_backend($1)", first)
        await poll_until(lambda: _has_session(admin_connection, first))
        await cancel_and_wait([running])
    await admin_connection.close()


async def _has_session(admin_connection: "asyncpg.Connection[asyncpg.Record]", old_pid: int) -> bool:
    return await admin_connection.fetchval(SESSION_PID, OWNER) not in {None, old_pid}


async def test_a_silent_session_ends_in_a_timeout(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_notifier, "LIVENESS_CHECK_INTERVAL_S", 0.1)
    monkeypatch.setattr(relay_notifier, "LIVENESS_TIMEOUT_S", 1.0)
    url = databases.create_for("pricing")
    admin_connection = await asyncpg.connect(asyncpg_dsn(databases.create_migrated("pricing")))
    async with open_engines(url) as (engines, proxy), asyncio.timeout(20):
        proxied = engines.messaging.url
        proxied_url = f"{urlsplit(url).scheme}://{proxied.username}@127.0.0.1:{proxied.port}/{proxied.database}"
        async with open_notifier(proxied_url, url) as notifier:
            running = asyncio.create_task(notifier.run())
            await poll_until(lambda: _has_session(admin_connection, 0))
            proxy.is_dropping = True
            await asyncio.wait([running])
            assert isinstance(running.exception(), TimeoutError)
    await admin_connection.close()


@pytest.mark.parametrize("turns", range(4))
async def test_the_notifier_stops_though_a_row_is_committed_at_the_same_time(databases: Databases, turns: int) -> None:
    url = databases.create_for("pricing")
    admin_connection = await asyncpg.connect(asyncpg_dsn(databases.create_migrated("pricing")))
    async with open_notifier(url, url) as notifier:
        running = asyncio.create_task(run_forever("notifier", notifier.run))
        await poll_until(lambda: _has_session(admin_connection, 0))
        with notifier.hand_off([OutboxMessage(request(id="unclaimed"), "broker", "k")]):
            pass  # the relay does not run, so that the row is left to other relays
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=5)
        running.cancel()
        assert done
    await admin_connection.close()


async def test_a_silent_database_does_not_hold_up_the_shutdown(databases: Databases) -> None:
    async with open_engines(databases.create_for("pricing")) as (engines, proxy):
        await engines.check()
        proxy.is_dropping = True
        async with asyncio.timeout(15):
            await engines.dispose()
