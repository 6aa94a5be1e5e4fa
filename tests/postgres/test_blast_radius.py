"""The blast radius of a failure: blocked keys, and unaffected keys of the same partition."""

import json
import os
import subprocess
import sys
from asyncio import to_thread
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from prebook.messaging.recoverability.blocked_keys import BlockStatus
from prebook.patterns.message_groups import partition_of
from prebook.postgres.blast_radius import BlastRadius
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from tests.databases import Databases, role_url
from tests.messaging.sequenced_receiver import GROUP, message_of

pytestmark = pytest.mark.real
PARTITIONS = 4
KEYS = [f"bk_{number}" for number in range(40)]
KEYS_OF_PARTITION = [key for key in KEYS if partition_of(key, PARTITIONS) == 0]
RECORD_MESSAGE = "INSERT INTO notification.inbox (message_id, flow, conversation_id) VALUES ($1, 'notify_rider', $2)"


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_for("notification")


@pytest.fixture
async def blocked_keys(url: str) -> AsyncIterator[SqlBlockedKeys]:
    engine = create_engine("notification", url)
    yield SqlBlockedKeys(engine)
    await engine.dispose()


async def test_blocked_keys_are_listed_with_their_blast_radius_and_can_be_released(
    url: str, blocked_keys: SqlBlockedKeys
) -> None:
    parked, waiting, *others = KEYS_OF_PARTITION
    for position, status in enumerate((BlockStatus.PARKED, BlockStatus.WAITING, BlockStatus.WAITING)):
        await blocked_keys.block(GROUP, message_of(parked, position), status, delay_s=0.0, error="Poison: no")
    await blocked_keys.block(
        GROUP, message_of(waiting, 0), BlockStatus.WAITING, delay_s=60.0, error="RuntimeError: later"
    )
    connection = await asyncpg.connect(asyncpg_dsn(url))
    try:
        for key in KEYS:
            await connection.execute(RECORD_MESSAGE, f"{key}-handled", key)
        blast = BlastRadius(connection, "notification", GROUP, PARTITIONS)
        first, second = await blast.list_blocked_keys()
        assert (first.key, first.status, first.waiting_messages, first.error) == (parked, "parked", 2, "Poison: no")
        assert (second.key, second.status, second.waiting_messages) == (waiting, "waiting", 0)
        assert {first.partition, second.partition} == {0}
        assert {first.unaffected_keys, second.unaffected_keys} == {len(others)}, "keys of other partitions do not count"
        assert await blocked_keys.list_due_keys(5) == []
        assert await blast.unblock(parked) == 1
        assert await blocked_keys.list_due_keys(5) == [(GROUP, parked)], "the messages behind the parked one are due"
        assert await blast.unblock(waiting) == 0, "no message of this key is parked"
    finally:
        await connection.close()


async def test_the_command_releases_a_key_only_with_apply(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.create_migrated("notification")
    monkeypatch.setenv("PREBOOK_DATABASE_URL", url)
    monkeypatch.setenv("PREBOOK_HOME", str(tmp_path))
    engine = create_engine("notification", role_url(url, "notification"))
    store = SqlBlockedKeys(engine)
    parked = message_of("bk_1", 0)
    await store.block(GROUP, parked, BlockStatus.PARKED, delay_s=0.0, error="Poison: no")
    await store.block(GROUP, message_of("bk_1", 1), BlockStatus.WAITING, delay_s=0.0, error="behind another")

    released = await run_release("bk_1")
    assert json.loads(released.stdout) == {"group": GROUP, "key": "bk_1", "dry_run": True, "dead_letters": 1}
    assert (await store.read_status(GROUP, parked)).message_status is BlockStatus.PARKED, "a dry run changes nothing"
    released = await run_release("bk_1", "--apply")
    assert json.loads(released.stdout) == {"group": GROUP, "key": "bk_1", "dry_run": False, "dead_letters": 1}
    assert (await store.read_status(GROUP, parked)).message_status is None
    released = await run_release("bk_1", "--apply")
    assert released.returncode == 1
    assert "does not wait for a parked message" in released.stderr
    await engine.dispose()


async def run_release(key: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prebook.cli", "ordering", "release", GROUP, key, "--json", *options]
    return await to_thread(subprocess.run, command, env=os.environ, capture_output=True, text=True, timeout=40)
