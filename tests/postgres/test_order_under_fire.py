"""Order per key while everything that can break off does: tasks cancelled, connections ended on either side, sends that
fail, several relays; whoever posts holds its key's lock, as services do.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.errors import Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox import sender
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import BeginUnitOfWork, OutboxMessage
from prebook.postgres.connection import acquire
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.runtime.loops import run_forever
from tests.conditions import poll_until, wait_until
from tests.databases import Databases, dispose_engine
from tests.messaging.examples import request

KEYS, WRITERS, RELAYS, SECONDS, UPKEEP = 6, 12, 3, 5.0, "upkeep"
FEWEST = 500
LOCK = text("SELECT pg_advisory_xact_lock(hashtext(:key))")
COUNT = text("SELECT count(*) FROM outbox WHERE ordering_key = :key")
WAITING = text("SELECT count(*) FROM outbox WHERE state = 'waiting'")
END = text("""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = :name AND pid <> pg_backend_pid() AND usename = current_user ORDER BY random() LIMIT 2""")


class Received:
    def __init__(self, chance: random.Random) -> None:
        self._chance, self.out_of_order = chance, list[str]()
        self.numbers: dict[str, set[int]] = defaultdict(set)

    async def __call__(self, row: LeasedRow) -> None:
        await asyncio.sleep(self._chance.random() * 0.004)
        if self._chance.random() < 0.05:
            raise Unreachable("a link that fails now and then", retry_after_s=0.01)
        key, _, number = row.envelope.id.partition(".")
        if not set(range(int(number))) <= self.numbers[key]:
            self.out_of_order.append(row.envelope.id)
        self.numbers[key].add(int(number))


@asynccontextmanager
async def relaying(url: str, name: str, received: Received) -> AsyncIterator[Relay]:
    engine = create_engine("notification", url, pool_size=2, extra_settings={"application_name": UPKEEP})
    listening = await asyncpg.connect(asyncpg_dsn(url), server_settings={"application_name": name})
    relay = Relay(SqlOutbox(engine, name), NullObserver())
    task = asyncio.create_task(run_forever("relay", lambda: relay.run(received)))
    await wait_until(lambda: relay._accepts_handoffs)
    yield relay
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await listening.close()
    await dispose_engine(engine)


async def written(begin: BeginUnitOfWork[SqlUnitOfWork], key: str, works: list[SqlUnitOfWork]) -> None:
    """The next one or two of a key, numbered by what was committed before."""
    async with begin() as work:
        works.append(work)
        await work.connection.execute(LOCK, {"key": key})
        first = (await work.connection.execute(COUNT, {"key": key})).scalar()
        await work.enqueue(
            [OutboxMessage(request(id=f"{key}.{first + step}"), "broker", key) for step in range(1 + first % 2)]
        )


async def broken_off(task: "asyncio.Task[None]", works: list[SqlUnitOfWork], chance: random.Random) -> None:
    """One in four, somewhere on its way; what it ends in is one of what such an end may be."""
    fate = chance.random()
    if fate < 0.25:
        await asyncio.sleep(chance.random() * 0.006)
    if fate < 0.12:
        task.cancel()
    elif fate < 0.25 and works:
        works[0].connection._driver.terminate()
    (end,) = await asyncio.gather(task, return_exceptions=True)
    assert end is None or isinstance(end, asyncio.CancelledError | Unreachable), repr(end)


async def test_nothing_is_lost_and_no_first_one_comes_too_early(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "UNCERTAIN_FOR_S", 1.0)
    url, chance = databases.create_for("notification"), random.Random(7)
    engine, received = create_engine("notification", url, pool_size=WRITERS), Received(chance)
    over = asyncio.get_running_loop().time() + SECONDS

    async def writing(key: str, ways: list[BeginUnitOfWork[SqlUnitOfWork]]) -> None:
        while asyncio.get_running_loop().time() < over:
            works: list[SqlUnitOfWork] = []
            await broken_off(asyncio.create_task(written(chance.choice(ways), key, works)), works, chance)

    async def ending() -> None:
        while asyncio.get_running_loop().time() < over:
            await asyncio.sleep(chance.random() * 0.5)
            with suppress(Unreachable, asyncpg.PostgresError):
                async with acquire(engine) as ours:
                    await ours.execute_without_begin(END, {"name": chance.choice([UPKEEP, "prebook-notification"])})

    async with AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(relaying(url, f"fire {n}", received)) for n in range(RELAYS)]
        ways = [
            unit_of_work_factory(engine, SqlUnitOfWork),
            *(unit_of_work_factory(engine, SqlUnitOfWork, each.hand_off) for each in relays),
        ]
        await asyncio.gather(ending(), *(writing(f"k{writer % KEYS}", ways) for writer in range(WRITERS)))
        await poll_until(lambda: _all_sent(engine), timeout_s=20.0)
        await wait_until(lambda: not any(relay._sender.leases.seqs or relay._sender._batches for relay in relays))
    assert received.out_of_order == []
    assert all(numbers == set(range(len(numbers))) for numbers in received.numbers.values())
    assert sum(map(len, received.numbers.values())) > FEWEST, "and there was something to get wrong"
    await dispose_engine(engine)


async def _all_sent(engine: AsyncEngine) -> bool:
    with suppress(Unreachable, asyncpg.PostgresError):
        async with acquire(engine) as ours:
            return not (await ours.execute_without_begin(WAITING)).scalar()
    return False
