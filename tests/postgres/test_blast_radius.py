"""The blast radius of a failure: blocked keys, and unaffected keys of the same partition."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from prebook.messaging.recoverability.blocked_keys import BlockStatus
from prebook.patterns.message_groups import partition_of
from prebook.postgres.blast_radius import BlastRadius
from prebook.postgres.blocked_keys import SqlBlockedKeys
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from tests.databases import Databases
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
