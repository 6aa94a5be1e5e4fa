"""TransactionBatcher: many messages per transaction, each with one effect, and a poison message isolated."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import TransactionConflict, Unreachable
from prebook.messaging.transaction_batcher import MAX_CONFLICTS, TransactionBatcher
from prebook.testing.configuration import make_policies
from prebook.testing.memory import MemoryDatabase
from tests.conditions import wait_until
from tests.leftovers import tasks_and_timers
from tests.messaging.examples import request


@dataclass
class Effects:
    """State of the service: ids of the handled messages, in order."""

    handled: list[str] = field(default_factory=list)


@dataclass
class CountingDatabase:
    """Counts transactions and delays each until ``may_begin``."""

    memory: MemoryDatabase = field(default_factory=lambda: MemoryDatabase(Effects()))
    begun: int = 0
    may_begin: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        self.begun += 1
        await self.may_begin.wait()
        async with self.memory.begin() as work:
            yield work

    @property
    def handled(self) -> list[str]:
        effects: Effects = self.memory.tables.state
        return effects.handled


async def record_effect(envelope: Envelope, work: Any, new: bool) -> str:
    if envelope.id == "outage":
        raise Unreachable("a lock that nobody else waits for")
    if envelope.flow == "find_driver":
        raise ValueError("poison")
    if new:
        work.handled.append(envelope.id)
    return envelope.id


def messages(count: int) -> list[Envelope]:
    return [request(f"b{number}", id=f"m{number}") for number in range(count)]


def start(batcher: TransactionBatcher[Any], *envelopes: Envelope) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(batcher.run(envelope, partial(record_effect, envelope))) for envelope in envelopes]


@pytest.fixture
def database() -> CountingDatabase:
    return CountingDatabase()


@pytest.fixture
def batcher(database: CountingDatabase) -> TransactionBatcher[Any]:
    return TransactionBatcher(database.begin, make_policies(), max_concurrent=1)


async def test_messages_that_arrive_during_a_commit_share_the_next_transaction(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    tasks = start(batcher, *messages(1))
    await wait_until(lambda: database.begun == 1)
    tasks += start(batcher, *messages(12)[1:])
    await asyncio.sleep(0)
    database.may_begin.set()
    assert await asyncio.gather(*tasks) == [f"m{number}" for number in range(12)]
    assert database.begun == 2
    assert len(database.handled) == 12


async def test_a_message_that_shares_no_transaction_waits_for_one_of_its_own(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    first, alone, *rest = messages(5)
    tasks = start(batcher, first)
    await wait_until(lambda: database.begun == 1)
    tasks += start(batcher, *rest[:1])
    tasks.append(asyncio.create_task(batcher.run(alone, partial(record_effect, alone), shared=False)))
    tasks += start(batcher, *rest[1:])
    await asyncio.sleep(0)
    database.may_begin.set()
    await asyncio.gather(*tasks)
    assert (database.begun, database.handled) == (3, ["m0", "m2", "m3", "m4", "m1"])


async def test_one_id_has_one_effect_although_two_conversations_share_the_transaction(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    tasks = start(batcher, *messages(1))
    await wait_until(lambda: database.begun == 1)
    tasks += start(batcher, request("b1", id="same"), request("b2", id="same"))
    await asyncio.sleep(0)
    database.may_begin.set()
    await asyncio.gather(*tasks)
    assert (database.begun, database.handled) == (2, ["m0", "same"])


async def test_a_poison_message_costs_the_rest_of_its_batch_one_retry_only(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    healthy = messages(7)
    bad = request("b99", id="bad", flow="find_driver")
    database.may_begin.set()
    results = await asyncio.gather(*start(batcher, *healthy[:3], bad, *healthy[3:]), return_exceptions=True)
    assert [str(result) for result in results] == ["m0", "m1", "m2", "poison", "m3", "m4", "m5", "m6"]
    assert sorted(database.handled) == [envelope.id for envelope in healthy]
    assert database.begun == 1 + 8


async def test_a_retried_message_gets_a_transaction_of_its_own(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    first, second, third = messages(3)
    database.may_begin.set()
    await asyncio.gather(*start(batcher, first, replace(second, attempt=2), third))
    assert database.begun == 2


async def test_a_second_delivery_has_no_second_effect(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    (message,) = messages(1)
    database.may_begin.set()
    await asyncio.gather(*start(batcher, message, replace(message), replace(message)))
    assert database.handled == ["m0"]


async def test_an_outage_fails_the_batch_without_retrying_one_by_one(database: CountingDatabase) -> None:
    @asynccontextmanager
    async def fail_to_begin() -> AsyncIterator[Any]:
        database.begun += 1
        raise Unreachable("no database")
        yield

    batcher: TransactionBatcher[Any] = TransactionBatcher(fail_to_begin, make_policies(), max_concurrent=1)
    results = await asyncio.gather(*start(batcher, *messages(5)), return_exceptions=True)
    assert [type(result) for result in results] == [Unreachable] * 5
    assert database.begun == 1


async def test_what_has_met_an_outage_shares_no_transaction_until_it_is_handled(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    cause = request("b99", id="outage", flow="find_driver")
    healthy = messages(3)
    database.may_begin.set()
    first = await asyncio.gather(*start(batcher, *healthy, cause), return_exceptions=True)
    second = await asyncio.gather(*start(batcher, *healthy, cause), return_exceptions=True)
    assert [type(result) for result in first] == [Unreachable] * 4, "nobody knows yet which one it is"
    assert [str(result) for result in second] == ["m0", "m1", "m2", "a lock that nobody else waits for"]
    assert database.begun == 1 + 4
    await asyncio.gather(*start(batcher, *(replace(each, id=f"{each.id}.2") for each in healthy)))
    assert database.begun == 1 + 4 + 1


async def test_a_cancelled_message_is_left_out_of_the_batch(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    first, cancelled, third = messages(3)
    tasks = start(batcher, first)
    await wait_until(lambda: database.begun == 1)
    tasks += start(batcher, cancelled, third)
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    database.may_begin.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert database.handled == ["m0", "m2"]


async def test_a_blocked_transaction_does_not_delay_later_messages(database: CountingDatabase) -> None:
    """While one transaction waits for a lock, messages that arrive later get another one."""
    released = asyncio.Event()

    @asynccontextmanager
    async def begin() -> AsyncIterator[Any]:
        database.begun += 1
        if database.begun == 1:
            await released.wait()
        async with database.memory.begin() as work:
            yield work

    batcher: TransactionBatcher[Any] = TransactionBatcher(begin, make_policies())
    tasks = start(batcher, *messages(1))
    await wait_until(lambda: database.begun == 1)
    tasks += start(batcher, *messages(3)[1:])
    await wait_until(lambda: database.handled == ["m1", "m2"])
    released.set()
    await asyncio.gather(*tasks)


async def test_stopping_waits_for_the_transaction_of_a_cancelled_caller(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    before = tasks_and_timers()
    first, second = messages(2)
    tasks = start(batcher, first)
    await wait_until(lambda: database.begun == 1)
    tasks += start(batcher, second)  # waits behind the first, with a timer
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    asyncio.get_running_loop().call_later(0.01, database.may_begin.set)
    await batcher.stop(timeout_s=1.0)
    assert database.handled == ["m0"], "nobody waits for the second any more"
    assert tasks_and_timers() == before


async def test_stopping_cancels_a_transaction_that_hangs(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    before = tasks_and_timers()
    [task] = start(batcher, *messages(1))
    await wait_until(lambda: database.begun == 1)
    await batcher.stop(timeout_s=0.02)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (database.handled, tasks_and_timers()) == ([], before)


async def test_a_transaction_that_conflicts_is_repeated_at_once(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    conflicts = {"m0": MAX_CONFLICTS, "m1": 1}

    async def conflict(envelope: Envelope, work: Any, new: bool) -> str:
        if conflicts[envelope.id]:
            conflicts[envelope.id] -= 1
            raise TransactionConflict("deadlock detected")
        return await record_effect(envelope, work, new)

    database.may_begin.set()
    tasks = [asyncio.create_task(batcher.run(each, partial(conflict, each))) for each in messages(2)]
    assert await asyncio.gather(*tasks) == ["m0", "m1"]
    assert sorted(database.handled) == ["m0", "m1"]


async def test_a_transaction_that_conflicts_for_ever_is_an_outage(
    database: CountingDatabase, batcher: TransactionBatcher[Any]
) -> None:
    async def conflict(_work: Any, _new: bool) -> str:
        raise TransactionConflict("deadlock detected")

    database.may_begin.set()
    with pytest.raises(Unreachable):
        await batcher.run(request("b0", id="m0"), conflict)
    assert database.begun == MAX_CONFLICTS + 1
    assert database.handled == []
