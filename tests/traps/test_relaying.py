"""Traps 8 to 10, 14 and 16: the outbox delivers every message in order, and its rows do not accumulate."""

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


async def test_trap_08_concurrent_deliveries_keep_the_order_of_each_key() -> None:
    """MassTransit/MassTransit#3512: delivered in parallel, messages of one order overtook each other."""
    database = MemoryDatabase(None)
    rng = random.Random(8)
    sent: dict[str, list[int]] = defaultdict(list)
    running_sends = 0
    max_running_sends = 0

    async def send(row: LeasedRow) -> None:
        nonlocal running_sends, max_running_sends
        running_sends += 1
        max_running_sends = max(max_running_sends, running_sends)
        await asyncio.sleep(rng.random() * 0.004)
        key, _, number = row.envelope.id.partition(".")
        sent[key].append(int(number))
        running_sends -= 1

    for number in range(20):
        for key in ("a", "b", "c", "d"):
            await enqueue(database, f"{key}.{number}", key=key)
    async with running(database, send):
        await wait_until(lambda: set(states(database).values()) == {"sent"})
    assert dict(sent) == {key: list(range(20)) for key in ("a", "b", "c", "d")}
    assert max_running_sends > 1, "messages of different keys are delivered concurrently"


async def test_trap_09_every_row_is_polled_purged_or_counted(begin: Begin, engine: AsyncEngine) -> None:
    """MassTransit/MassTransit#5918, eventuate-foundation/eventuate-cdc#103: it grew, and no metric saw dead rows."""

    async def send(row: LeasedRow) -> None:
        if row.envelope.id == "dead":
            raise Undeliverable("unroutable")
        if row.envelope.id == "late":
            raise Unreachable("not reachable", retry_after_s=60.0)

    outbox = await _empty_outbox(engine, "trap-09")
    await _enqueue(begin, "sent", "dead", "late")
    async with _run_relay(outbox, send):
        await poll_until(lambda: _has_states(engine, {"sent": "sent", "dead": "undeliverable", "late": "waiting"}))
    await _age_rows(engine, 2 * DAY_S)
    await Purger(engine, common_purges(DAY_S)).purge_due()

    assert await _read_states(engine) == {"dead": "undeliverable", "late": "waiting"}, "only sent rows are purged"
    depth = await outbox.read_depth()
    assert (depth.waiting, sum(depth.abandoned.values())) == (1, 1), "the metrics count every remaining row"


class PollCountingDatabase(MemoryDatabase):
    """Counts the polls of the relay."""

    polls = 0

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        self.polls += 1
        return await super().claim(limit, lease_s=lease_s, full_routes=full_routes, tracked=tracked)


async def test_trap_10_a_backlog_is_sent_without_a_pause_per_message() -> None:
    """dapr/dapr#8233: the relay slept for a second after each message."""
    database = PollCountingDatabase(None)
    backlog = 3 * MAX_CLAIMED_ROWS

    async def send(row: LeasedRow) -> None:
        await asyncio.sleep(0)

    await enqueue(database, *(f"m{n}" for n in range(backlog)))
    async with running(database, send):
        await wait_until(lambda: set(states(database).values()) == {"sent"}, timeout_s=POLL_INTERVAL_S * backlog / 10)
    assert database.polls <= backlog // MAX_CLAIMED_ROWS + 3, (
        "the relay claims full batches without a pause between them"
    )


async def test_trap_14_a_failure_blocks_its_own_message_group_only() -> None:
    """aws-powertools/powertools-lambda-python#2981: one failure held every group of the batch."""
    database = MemoryDatabase(None)
    is_down = True
    sent: list[str] = []

    async def send(row: LeasedRow) -> None:
        if row.envelope.id == "a.1" and is_down:
            raise Unreachable("not reachable", retry_after_s=0.05)
        sent.append(row.envelope.id)

    for number in range(1, 4):
        for key in ("a", "b", "c"):
            await enqueue(database, f"{key}.{number}", key=key)
    async with running(database, send) as relay:
        await wait_until(lambda: sorted(sent) == [f"{key}.{n}" for key in "bc" for n in range(1, 4)])
        is_down = False
        await wake_until_all(relay, database, "sent")
    assert sent[6:] == ["a.1", "a.2", "a.3"]


async def test_trap_16_a_failed_row_is_sent_again(begin: Begin, engine: AsyncEngine) -> None:
    """dotnet-architecture/eShopOnContainers#279: nothing ever sent rows again that were marked as failed."""
    attempts: list[str] = []

    async def send(row: LeasedRow) -> None:
        attempts.append(row.envelope.id)
        if len(attempts) == 1:
            raise Unreachable("the broker is down", retry_after_s=0.05)

    outbox = await _empty_outbox(engine, "trap-16")
    await _enqueue(begin, "failed")
    async with _run_relay(outbox, send):
        await poll_until(lambda: _has_states(engine, {"failed": "sent"}), timeout_s=5)
    assert attempts == ["failed", "failed"]


@asynccontextmanager
async def _run_relay(outbox: SqlOutbox, send: Callable[[LeasedRow], Awaitable[None]]) -> AsyncIterator[None]:
    """Run a relay while the block runs; a permanently refused row is refused only once."""
    task = asyncio.create_task(Relay(outbox, NullObserver(), max_refusals=1).run(send))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _empty_outbox(engine: AsyncEngine, owner: str) -> SqlOutbox:
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    return SqlOutbox(engine, owner)


async def _enqueue(begin: Begin, *ids: str) -> None:
    for message_id in ids:
        async with begin() as work:
            await work.enqueue([OutboxMessage(request(id=message_id), "broker", message_id)])


async def _age_rows(engine: AsyncEngine, seconds: float) -> None:
    """Move the send times of all rows ``seconds`` into the past."""
    async with engine.begin() as connection:
        parameters = {"seconds": seconds}
        await connection.execute(
            text("UPDATE outbox SET sent_at = sent_at - make_interval(secs => :seconds)"), parameters
        )


async def _has_states(engine: AsyncEngine, expected: dict[str, str]) -> bool:
    return await _read_states(engine) == expected


async def _read_states(engine: AsyncEngine) -> dict[str, str]:
    async with engine.connect() as connection:
        rows = (await connection.execute(text("SELECT message_id, state FROM outbox"))).all()
    return {row.message_id: row.state for row in rows}
