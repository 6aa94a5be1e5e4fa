"""The blast radius: which keys wait behind a failure, and which of their partition went on."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from prebook.messaging.recoverability.blocked_keys import Standing
from prebook.patterns.message_groups import partition_of
from prebook.postgres.blast_radius import Blast
from prebook.postgres.blocked_keys import SqlHolds
from prebook.postgres.engine import engine_for
from tests.databases import Databases
from tests.messaging.holding import GROUP, said

pytestmark = pytest.mark.real
PARTITIONS = 4
KEYS = [f"bk_{number}" for number in range(40)]
HERE = [key for key in KEYS if partition_of(key, PARTITIONS) == 0]
NOTE = "INSERT INTO notification.inbox (message_id, flow, conversation) VALUES ($1, 'notify_rider', $2)"


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.of("notification")


@pytest.fixture
async def holds(url: str) -> AsyncIterator[SqlHolds]:
    engine = engine_for("notification", url)
    yield SqlHolds(engine)
    await engine.dispose()


async def test_what_waits_is_told_with_what_went_on_and_can_be_released(url: str, holds: SqlHolds) -> None:
    parked, waiting, *others = HERE
    for place, standing in enumerate((Standing.PARKED, Standing.WAITING, Standing.WAITING)):
        await holds.put_down(GROUP, said(parked, place), standing, pause_s=0.0, why="Poison: no")
    await holds.put_down(GROUP, said(waiting, 0), Standing.WAITING, pause_s=60.0, why="RuntimeError: later")
    connection = await asyncpg.connect(url.replace("+asyncpg", "", 1))
    try:
        for key in KEYS:
            await connection.execute(NOTE, f"{key}-told", key)
        blast = Blast(connection, "notification", GROUP, PARTITIONS)
        first, second = await blast.keys()
        assert (first.key, first.standing, first.behind, first.why) == (parked, "parked", 2, "Poison: no")
        assert (second.key, second.standing, second.behind) == (waiting, "waiting", 0)
        assert {first.partition, second.partition} == {0}
        assert {first.went_on, second.went_on} == {len(others)}, "the keys of other partitions are none of its"
        assert await holds.due(5) == []
        assert await blast.release(parked) == 1
        assert await holds.due(5) == [(GROUP, parked)], "what waited behind it goes on"
        assert await blast.release(waiting) == 0, "nothing of it is parked"
    finally:
        await connection.close()
