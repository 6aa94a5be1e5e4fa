"""Access to the database: only the services' roles connect, each within its limit, and no role passes for another."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

import asyncpg
import pytest

from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.relay_notifier import WAKE_INTERVAL_S, RelayNotifier, notify_channel
from prebook.postgres.replicas import read_live_replicas
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.runtime.loops import cancel_and_wait
from tests.conditions import wait_until
from tests.databases import Databases, role_url, run_migrations
from tests.messaging.examples import request

pytestmark = pytest.mark.real
LIMIT = 3


@pytest.fixture
def url(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of the administrator for a database that was set up with a limit of connections."""
    url = databases.create_empty()
    monkeypatch.setenv("PREBOOK_ROLE_CONNECTIONS", str(LIMIT))
    run_migrations(url, "pricing")
    yield url
    monkeypatch.setenv("PREBOOK_ROLE_CONNECTIONS", "-1")
    run_migrations(url, "pricing")


async def test_only_the_roles_of_services_may_connect(url: str) -> None:
    stranger = role_url(url, "stranger")
    admin = await asyncpg.connect(asyncpg_dsn(url))
    await admin.execute("CREATE ROLE prebook_stranger LOGIN")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
            await asyncpg.connect(asyncpg_dsn(stranger))
    finally:
        await admin.execute("DROP ROLE prebook_stranger")
        await admin.close()
    service = await asyncpg.connect(asyncpg_dsn(role_url(url, "pricing")))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute("CREATE TEMPORARY TABLE another (id int)")
    await service.close()


async def test_a_role_cannot_use_up_the_connections_of_the_server(url: str) -> None:
    dsn = asyncpg_dsn(role_url(url, "pricing"))
    attempts = await asyncio.gather(*(asyncpg.connect(dsn) for _ in range(LIMIT + 1)), return_exceptions=True)
    for attempt in attempts:
        if isinstance(attempt, asyncpg.Connection):
            await attempt.close()
    assert [type(error) for error in attempts if isinstance(error, Exception)] == [asyncpg.TooManyConnectionsError]


async def test_a_session_of_another_role_is_no_replica_and_keeps_no_row(databases: Databases) -> None:
    """The session of the administrator has the name of a relay that has ended."""
    url = databases.create_for("pricing")
    engine = create_engine("pricing", url)
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue([OutboxMessage(request(id="m1"), "broker", "k")])
    assert len(await SqlOutbox(engine, "relay ended").claim(10, lease_s=300.0, full_routes=[])) == 1
    admin_dsn = asyncpg_dsn(url.replace("prebook_pricing@", "postgres@", 1))
    impostor = await asyncpg.connect(admin_dsn, server_settings={"application_name": "relay ended"})
    own = await asyncpg.connect(asyncpg_dsn(url), server_settings={"application_name": "relay alive"})
    try:
        assert await read_live_replicas(engine, "relay ") == ["relay alive"]
        heir = SqlOutbox(engine, "relay alive")
        await heir.release_orphaned()
        assert [row.envelope.id for row in await heir.claim(10, lease_s=30.0, full_routes=[])] == ["m1"]
    finally:
        await impostor.close()
        await own.close()
        await engine.dispose()


async def test_a_role_cannot_stop_the_relays_of_another_service(databases: Databases) -> None:
    """Advisory locks belong to all roles of a database, so claims must not wait for one."""
    url = databases.create_migrated("pricing", "fleets")
    engine = create_engine("pricing", role_url(url, "pricing"))
    attacker = await asyncpg.connect(asyncpg_dsn(role_url(url, "fleets")))
    try:
        await attacker.execute("SELECT pg_advisory_lock(hashtext('pricing.outbox'))")
        assert await SqlOutbox(engine, "relay").claim(10, lease_s=30.0, full_routes=[]) == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await attacker.execute("BEGIN; LOCK TABLE pricing.claim_lock IN SHARE UPDATE EXCLUSIVE MODE")
    finally:
        await attacker.close()
        await engine.dispose()


async def test_a_role_cannot_keep_a_key_of_another_service(databases: Databases) -> None:
    """Advisory locks belong to all roles of a database, so a blocked key must not wait for one."""
    url = databases.create_migrated("notification", "fleets")
    engine = create_engine("notification", role_url(url, "notification"))
    attacker = await asyncpg.connect(asyncpg_dsn(role_url(url, "fleets")))
    try:
        await attacker.execute("SELECT pg_advisory_lock(hashtextextended('group key', 0))")
        async with SqlBlockedKeys(engine).try_lock("group", "key") as locked:
            assert locked
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await attacker.execute("DELETE FROM notification.key_lease")
    finally:
        await attacker.close()
        await engine.dispose()


async def test_notifications_of_another_role_do_not_make_a_relay_spin(databases: Databases) -> None:
    """Any role may send any number of notifications; the relay is woken at most every WAKE_INTERVAL_S."""
    url = databases.create_migrated("pricing", "fleets")
    wakes: list[float] = []
    clock = asyncio.get_running_loop().time

    class Relay:
        is_behind = False

        def wake(self) -> None:
            wakes.append(clock())

    notifier = RelayNotifier("pricing", role_url(url, "pricing"), "a relay", cast("Any", Relay()))
    running = asyncio.create_task(notifier.run())
    attacker = await asyncpg.connect(asyncpg_dsn(role_url(url, "fleets")))
    try:
        await wait_until(lambda: bool(wakes), 10)  # the relay is woken once when the session is open
        for number in range(1_000):
            await attacker.execute(f"NOTIFY {notify_channel('pricing')}, '{number}'")
        await wait_until(lambda: len(wakes) > 2, 10)
        await asyncio.sleep(2 * WAKE_INTERVAL_S)  # whatever is scheduled has come
        assert all(later - earlier >= 0.9 * WAKE_INTERVAL_S for earlier, later in pairwise(wakes[1:]))
        before = len(wakes)
        await attacker.execute(f"NOTIFY {notify_channel('pricing')}")
        await wait_until(lambda: len(wakes) > before, 10)
    finally:
        await attacker.close()
        await cancel_and_wait([running])
