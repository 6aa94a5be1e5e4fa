"""Transactions that messages share: one for many, each effect once, and a poison message that costs others nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.transaction_batcher import TransactionBatcher
from prebook.testing.memory import MemoryDatabase
from tests.conditions import becomes
from tests.messaging.examples import request
from tests.world import policies


@dataclass
class Effects:
    """The service's state: what has had its effect, in order."""

    seen: list[str] = field(default_factory=list)


@dataclass
class Counted:
    """A database whose transactions are counted, and can be held before they begin."""

    database: MemoryDatabase = field(default_factory=lambda: MemoryDatabase(Effects()))
    begun: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        self.begun += 1
        await self.gate.wait()
        async with self.database.begin() as work:
            yield work

    @property
    def seen(self) -> list[str]:
        effects: Effects = self.database.tables.state
        return effects.seen


async def noted(envelope: Envelope, work: Any, new: bool) -> str:
    if envelope.flow == "find_driver":
        raise ValueError("poison")
    if new:
        work.seen.append(envelope.id)
    return envelope.id


def many(count: int) -> list[Envelope]:
    return [request(f"b{number}", id=f"m{number}") for number in range(count)]


def started(to: TransactionBatcher[Any], *envelopes: Envelope) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(to.run(envelope, partial(noted, envelope))) for envelope in envelopes]


@pytest.fixture
def place() -> Counted:
    return Counted()


@pytest.fixture
def transactions(place: Counted) -> TransactionBatcher[Any]:
    return TransactionBatcher(place.begin, policies(), max_concurrent=1)


async def test_what_comes_while_one_commits_shares_the_next(
    place: Counted, transactions: TransactionBatcher[Any]
) -> None:
    tasks = started(transactions, *many(1))
    await becomes(lambda: place.begun == 1)
    tasks += started(transactions, *many(12)[1:])
    await asyncio.sleep(0)
    place.gate.set()
    assert await asyncio.gather(*tasks) == [f"m{number}" for number in range(12)]
    assert place.begun == 2
    assert len(place.seen) == 12


async def test_a_poison_message_costs_the_others_a_second_try_and_nothing_else(
    place: Counted, transactions: TransactionBatcher[Any]
) -> None:
    good, bad = many(7), request("b99", id="bad", flow="find_driver")
    place.gate.set()
    ends = await asyncio.gather(*started(transactions, *good[:3], bad, *good[3:]), return_exceptions=True)
    assert [str(end) for end in ends] == ["m0", "m1", "m2", "poison", "m3", "m4", "m5", "m6"]
    assert sorted(place.seen) == [each.id for each in good]
    assert place.begun == 1 + 8


async def test_what_has_failed_before_goes_alone(place: Counted, transactions: TransactionBatcher[Any]) -> None:
    first, second, third = many(3)
    place.gate.set()
    await asyncio.gather(*started(transactions, first, replace(second, attempt=2), third))
    assert place.begun == 2


async def test_a_second_delivery_is_not_new(place: Counted, transactions: TransactionBatcher[Any]) -> None:
    (message,) = many(1)
    place.gate.set()
    await asyncio.gather(*started(transactions, message, replace(message), replace(message)))
    assert place.seen == ["m0"]


async def test_an_outage_is_told_to_all_and_not_tried_one_by_one(place: Counted) -> None:
    @asynccontextmanager
    async def away() -> AsyncIterator[Any]:
        place.begun += 1
        raise Unreachable("no database")
        yield

    transactions: TransactionBatcher[Any] = TransactionBatcher(away, policies(), max_concurrent=1)
    ends = await asyncio.gather(*started(transactions, *many(5)), return_exceptions=True)
    assert [type(end) for end in ends] == [Unreachable] * 5
    assert place.begun == 1


async def test_who_no_longer_waits_leaves_nothing_behind(place: Counted, transactions: TransactionBatcher[Any]) -> None:
    first, gone, third = many(3)
    tasks = started(transactions, first)
    await becomes(lambda: place.begun == 1)
    tasks += started(transactions, gone, third)
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    place.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert place.seen == ["m0", "m2"]


async def test_one_that_is_held_up_does_not_hold_up_the_others(place: Counted) -> None:
    """A lock that somebody else has: those who come later have a transaction of their own before it is over."""
    held = asyncio.Event()

    @asynccontextmanager
    async def begin() -> AsyncIterator[Any]:
        place.begun += 1
        if place.begun == 1:
            await held.wait()
        async with place.database.begin() as work:
            yield work

    transactions: TransactionBatcher[Any] = TransactionBatcher(begin, policies())
    tasks = started(transactions, *many(1))
    await becomes(lambda: place.begun == 1)
    tasks += started(transactions, *many(3)[1:])
    await becomes(lambda: place.seen == ["m1", "m2"])
    held.set()
    await asyncio.gather(*tasks)
