"""Order per key under faults: tasks are cancelled, connections are closed by either side, sends fail, relays compete.

Each writer holds the lock of its key, as a service holds the lock of its conversation.
"""

import asyncio
import random
import time
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

KEYS = 6
WRITERS = 12
RELAYS = 3
MIN_DURATION_S = 5.0
MAX_DURATION_S = 60.0
MIN_ROWS = 500
"""Rows received before the faults end, so that there is something to lose; a slow machine takes longer for them."""
UPKEEP = "upkeep"
LOCK_KEY = text("SELECT pg_advisory_xact_lock(hashtext(:key))")
COUNT_ROWS = text("SELECT count(*) FROM outbox WHERE ordering_key = :key")
COUNT_WAITING = text("SELECT count(*) FROM outbox WHERE state = 'waiting'")
TERMINATE_TWO = text("""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = :name AND pid <> pg_backend_pid() AND usename = current_user ORDER BY random() LIMIT 2""")


class Receiver:
    """Receives rows over a link that fails for one row in twenty, and records order and completeness per key."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.out_of_order: list[str] = []
        self.numbers: dict[str, set[int]] = defaultdict(set)

    @property
    def rows(self) -> int:
        """Number of distinct rows received."""
        return sum(map(len, self.numbers.values()))

    async def __call__(self, row: LeasedRow) -> None:
        await asyncio.sleep(self._rng.random() * 0.004)
        if self._rng.random() < 0.05:
            raise Unreachable("the link fails now and then", retry_after_s=0.01)
        key, _, number = row.envelope.id.partition(".")
        if not set(range(int(number))) <= self.numbers[key]:
            self.out_of_order.append(row.envelope.id)
        self.numbers[key].add(int(number))


@asynccontextmanager
async def run_relay(url: str, name: str, receiver: Receiver) -> AsyncIterator[Relay]:
    """Run a relay for the block, with its own connections."""
    engine = create_engine("notification", url, pool_size=2, extra_settings={"application_name": UPKEEP})
    listening = await asyncpg.connect(asyncpg_dsn(url), server_settings={"application_name": name})
    relay = Relay(SqlOutbox(engine, name), NullObserver())
    task = asyncio.create_task(run_forever("relay", lambda: relay.run(receiver)))
    await wait_until(lambda: relay._accepts_handoffs)
    yield relay
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await listening.close()
    await dispose_engine(engine)


async def enqueue_rows(begin: BeginUnitOfWork[SqlUnitOfWork], key: str, works: list[SqlUnitOfWork]) -> None:
    """Enqueue one or two rows of a key, numbered after the committed ones. ``works`` gets the open unit of work."""
    async with begin() as work:
        works.append(work)
        await work.connection.execute(LOCK_KEY, {"key": key})
        first = (await work.connection.execute(COUNT_ROWS, {"key": key})).scalar()
        await work.enqueue(
            [OutboxMessage(request(id=f"{key}.{first + step}"), "broker", key) for step in range(1 + first % 2)]
        )


async def interrupt_at_random(task: "asyncio.Task[None]", works: list[SqlUnitOfWork], rng: random.Random) -> None:
    """Cancel one task in eight, close the connection of another one in eight, and await the task.

    Raises:
        AssertionError: The task ended with an error that no such interruption causes.
    """
    fate = rng.random()
    if fate < 0.25:
        await asyncio.sleep(rng.random() * 0.006)
    if fate < 0.12:
        task.cancel()
    elif fate < 0.25 and works:
        works[0].connection._driver.terminate()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    assert outcome is None or isinstance(outcome, asyncio.CancelledError | Unreachable), repr(outcome)


async def test_no_row_is_lost_or_overtakes_another_of_its_key(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "UNCERTAIN_FOR_S", 1.0)
    url = databases.create_for("notification")
    rng = random.Random(7)
    engine = create_engine("notification", url, pool_size=WRITERS)
    receiver = Receiver(rng)
    started = time.monotonic()

    def is_over() -> bool:
        elapsed_s = time.monotonic() - started
        return elapsed_s > MAX_DURATION_S or (elapsed_s > MIN_DURATION_S and receiver.rows > MIN_ROWS)

    async def write(key: str, factories: list[BeginUnitOfWork[SqlUnitOfWork]]) -> None:
        while not is_over():
            works: list[SqlUnitOfWork] = []
            task = asyncio.create_task(enqueue_rows(rng.choice(factories), key, works))
            await interrupt_at_random(task, works, rng)

    async def terminate_connections() -> None:
        while not is_over():
            await asyncio.sleep(rng.random() * 0.5)
            with suppress(Unreachable, asyncpg.PostgresError):
                async with acquire(engine) as connection:
                    name = rng.choice([UPKEEP, "prebook-notification"])
                    await connection.execute_without_begin(TERMINATE_TWO, {"name": name})

    async with AsyncExitStack() as stack:
        relays = [await stack.enter_async_context(run_relay(url, f"fire {n}", receiver)) for n in range(RELAYS)]
        factories = [
            unit_of_work_factory(engine, SqlUnitOfWork),
            *(unit_of_work_factory(engine, SqlUnitOfWork, relay.hand_off) for relay in relays),
        ]
        await asyncio.gather(terminate_connections(), *(write(f"k{n % KEYS}", factories) for n in range(WRITERS)))
        await poll_until(lambda: _all_sent(engine), timeout_s=60.0)
        await wait_until(
            lambda: not any(relay._sender.leases.seqs or relay._sender._batches for relay in relays), timeout_s=20.0
        )
    assert receiver.out_of_order == []
    assert all(numbers == set(range(len(numbers))) for numbers in receiver.numbers.values())
    assert receiver.rows > MIN_ROWS, "too few rows to show anything"
    await dispose_engine(engine)


async def _all_sent(engine: AsyncEngine) -> bool:
    with suppress(Unreachable, asyncpg.PostgresError):
        async with acquire(engine) as connection:
            return not (await connection.execute_without_begin(COUNT_WAITING)).scalar()
    return False
