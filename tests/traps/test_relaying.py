"""Traps 8 to 10, 14 and 16 of the reliability page: what the outbox holds leaves, in order, and does not pile up."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.relay import POLL_INTERVAL_S, Relay
from prebook.messaging.outbox.sender import MAX_CLAIMED_ROWS
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.purge import Purger
from prebook.runtime.retention import common_purges
from prebook.testing.memory import MemoryDatabase
from tests.conditions import poll_until, wait_until
from tests.messaging.examples import request
from tests.messaging.outbox.test_relay import enqueue, running, states, wake_until_all
from tests.operations.examples import Begin

DAY_S = 24 * 3600.0


async def test_trap_08_deliveries_side_by_side_keep_each_keys_order() -> None:
    """MassTransit/MassTransit#3512: delivered in parallel, messages of one order overtook each other."""
    database, chance = MemoryDatabase(None), random.Random(8)
    seen: dict[str, list[int]] = defaultdict(list)
    side_by_side, most = 0, 0

    async def send(row: LeasedRow) -> None:
        nonlocal side_by_side, most
        side_by_side, most = side_by_side + 1, max(most, side_by_side + 1)
        await asyncio.sleep(chance.random() * 0.004)
        key, _, number = row.envelope.id.partition(".")
        seen[key].append(int(number))
        side_by_side -= 1

    for number in range(20):
        for key in ("a", "b", "c", "d"):
            await enqueue(database, f"{key}.{number}", key=key)
    async with running(database, send):
        await wait_until(lambda: set(states(database).values()) == {"sent"})
    assert dict(seen) == {key: list(range(20)) for key in ("a", "b", "c", "d")}
    assert most > 1, "and they were delivered side by side"


async def test_trap_09_no_row_is_overlooked_by_poll_purge_and_count_alike(begin: Begin, engine: AsyncEngine) -> None:
    """MassTransit/MassTransit#5918, eventuate-foundation/eventuate-cdc#103: the outbox grew; nothing saw dead rows."""

    async def send(row: LeasedRow) -> None:
        if row.envelope.id == "dead":
            raise Undeliverable("it goes nowhere")
        if row.envelope.id == "late":
            raise Unreachable("not yet", retry_after_s=60.0)

    outbox = await _emptied(engine, "trap-09")
    await _posted(begin, "sent", "dead", "late")
    async with _relaying(outbox, send):
        await poll_until(lambda: _are(engine, {"sent": "sent", "dead": "undeliverable", "late": "waiting"}))
    await _aged(engine, 2 * DAY_S)
    await Purger(engine, common_purges(DAY_S)).purge_due()

    assert await _states(engine) == {"dead": "undeliverable", "late": "waiting"}, "what was not sent stays"
    depth = await outbox.read_depth()
    assert (depth.waiting, sum(depth.abandoned.values())) == (1, 1), (
        "and each row that is left is counted where somebody looks"
    )


class Polled(MemoryDatabase):
    """Counts how often the relay looks."""

    looks = 0

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        self.looks += 1
        return await super().claim(limit, lease_s=lease_s, full_routes=full_routes, tracked=tracked)


async def test_trap_10_a_backlog_leaves_without_a_pause_for_each_message() -> None:
    """dapr/dapr#8233: the relay slept for a second after each message."""
    database, backlog = Polled(None), 3 * MAX_CLAIMED_ROWS

    async def send(row: LeasedRow) -> None:
        await asyncio.sleep(0)

    await enqueue(database, *(f"m{n}" for n in range(backlog)))
    async with running(database, send):
        await wait_until(lambda: set(states(database).values()) == {"sent"}, timeout_s=POLL_INTERVAL_S * backlog / 10)
    assert database.looks <= backlog // MAX_CLAIMED_ROWS + 3, (
        "whole batches are taken, and the poll is not waited for in between"
    )


async def test_trap_14_a_failure_holds_its_own_group_and_no_other() -> None:
    """aws-powertools/powertools-lambda-python#2981: one failure held every group of the batch."""
    database, away = MemoryDatabase(None), [True]
    seen: list[str] = []

    async def send(row: LeasedRow) -> None:
        if row.envelope.id == "a.1" and away[0]:
            raise Unreachable("not yet", retry_after_s=0.05)
        seen.append(row.envelope.id)

    for number in range(1, 4):
        for key in ("a", "b", "c"):
            await enqueue(database, f"{key}.{number}", key=key)
    async with running(database, send) as relay:
        await wait_until(lambda: sorted(seen) == [f"{key}.{n}" for key in "bc" for n in range(1, 4)])
        away[0] = False
        await wake_until_all(relay, database, "sent")
    assert seen[6:] == ["a.1", "a.2", "a.3"]


async def test_trap_16_what_failed_is_sent_again_by_somebody(begin: Begin, engine: AsyncEngine) -> None:
    """dotnet-architecture/eShopOnContainers#279: rows marked as failed, and nothing that ever looked at them again."""
    tries: list[str] = []

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) == 1:
            raise Unreachable("the broker was away", retry_after_s=0.05)

    outbox = await _emptied(engine, "trap-16")
    await _posted(begin, "failed")
    async with _relaying(outbox, send):
        await poll_until(lambda: _are(engine, {"failed": "sent"}), timeout_s=5)
    assert tries == ["failed", "failed"]


@asynccontextmanager
async def _relaying(outbox: SqlOutbox, send: Callable[[LeasedRow], Awaitable[None]]) -> AsyncIterator[None]:
    """As a process runs it; what is refused for good is refused once."""
    task = asyncio.create_task(Relay(outbox, NullObserver(), max_refusals=1).run(send))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _emptied(engine: AsyncEngine, owner: str) -> SqlOutbox:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    return SqlOutbox(engine, owner)


async def _posted(begin: Begin, *ids: str) -> None:
    for message_id in ids:
        async with begin() as work:
            await work.enqueue([OutboxMessage(request(id=message_id), "broker", message_id)])


async def _aged(engine: AsyncEngine, seconds: float) -> None:
    """As if all that has happened had happened so long ago."""
    async with engine.begin() as connection:
        ago = {"seconds": seconds}
        await connection.execute(text("UPDATE outbox SET sent_at = sent_at - make_interval(secs => :seconds)"), ago)


async def _are(engine: AsyncEngine, expected: dict[str, str]) -> bool:
    return await _states(engine) == expected


async def _states(engine: AsyncEngine) -> dict[str, str]:
    async with engine.connect() as connection:
        rows = (await connection.execute(text("SELECT message_id, state FROM outbox"))).all()
    return {row.message_id: row.state for row in rows}
