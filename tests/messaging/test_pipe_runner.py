"""The runner of a pipe on a source in memory: every item is settled once, and slow stages hold back the source."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from prebook.messaging import pipe_runner
from prebook.messaging.errors import Unreachable
from prebook.messaging.pipe_runner import FAILED, PipeRunner, StageWork
from prebook.patterns.pipe import Filtered, Passed, Pipe, PipeEnd, PipeStage, Refused, StageVerdict

DEADLINE_S = 20.0


@dataclass
class Item:
    """Item of the source in memory."""

    content: int
    source: "Source"

    async def complete(self) -> None:
        self.source.completed[self.content] += 1

    async def park(self, cause: str, reason: str) -> None:
        if self.source.park_failures:
            self.source.park_failures -= 1
            raise Unreachable("no confirm")
        self.source.parked[self.content] = cause


@dataclass
class Source:
    """Source in memory. ``pulled``: items given out."""

    items: int
    park_failures: int = 0
    pulled: int = 0
    completed: Counter[int] = field(default_factory=Counter)
    parked: dict[int, str] = field(default_factory=dict)

    async def pull(self) -> Item:
        if self.pulled == self.items:
            await asyncio.Event().wait()
        self.pulled += 1
        return Item(self.pulled - 1, self)

    @property
    def settled(self) -> int:
        return self.completed.total() + len(self.parked)


def work(decide: Callable[[int], StageVerdict[Any]]) -> StageWork:
    async def handle(items: Sequence[int]) -> Sequence[StageVerdict[Any]]:
        return [decide(item) for item in items]

    return handle


async def pass_all(items: Sequence[int]) -> Sequence[StageVerdict[Any]]:
    return [Passed(item) for item in items]


def pipe(*stages: PipeStage, buffer: int = 2) -> Pipe:
    return Pipe(name="feed", source="memory", target="city", stages=stages, buffer=buffer)


async def run_until(runner: PipeRunner, condition: Callable[[], bool]) -> None:
    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                assert not running.done(), running.result()
                await asyncio.sleep(0.001)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture(autouse=True)
def short_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipe_runner, "RETRY_INTERVAL_S", 0.001)


async def test_every_item_is_settled_once_with_its_own_end() -> None:
    source = Source(60, park_failures=3)
    delivered: list[int] = []

    async def push(items: Sequence[int]) -> Sequence[StageVerdict[Any]]:
        delivered.extend(items)
        return await pass_all(items)

    runner = PipeRunner(
        pipe(PipeStage(name="filter"), PipeStage(name="check", parallelism=3, batch_size=4), PipeStage(name="push")),
        source.pull,
        {
            "filter": work(lambda item: Filtered() if item % 3 == 0 else Passed(item)),
            "check": work(lambda item: Refused("wrong") if item % 3 == 1 else Passed(-item)),
            "push": push,
        },
    )
    await run_until(runner, lambda: source.settled == source.items)
    assert runner.ends == {PipeEnd.FILTERED: 20, PipeEnd.DELIVERED: 20, PipeEnd.PARKED: 20}
    assert source.parked == {item: "wrong" for item in range(60) if item % 3 == 1}
    assert sorted(delivered) == sorted(-item for item in range(60) if item % 3 == 2)
    assert set(source.completed.values()) == {1}


async def test_a_batch_is_repeated_while_the_dependency_of_its_stage_is_away() -> None:
    source = Source(5)
    failures = 3

    async def push(items: Sequence[int]) -> Sequence[StageVerdict[Any]]:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unreachable("away")
        return await pass_all(items)

    runner = PipeRunner(pipe(PipeStage(name="push", batch_size=5)), source.pull, {"push": push})
    await run_until(runner, lambda: source.settled == source.items)
    assert (runner.ends, failures) == ({PipeEnd.DELIVERED: 5}, 0)


async def test_an_item_at_which_a_stage_fails_is_parked_without_the_others_of_its_batch() -> None:
    source = Source(8)

    async def fail_at_three(items: Sequence[int]) -> Sequence[StageVerdict[Any]]:
        if 3 in items:
            raise KeyError("three")
        return await pass_all(items)

    runner = PipeRunner(pipe(PipeStage(name="push", batch_size=8), buffer=8), source.pull, {"push": fail_at_three})
    await run_until(runner, lambda: source.settled == source.items)
    assert source.parked == {3: FAILED}
    assert runner.ends == {PipeEnd.DELIVERED: 7, PipeEnd.PARKED: 1}


async def test_a_stage_that_does_not_end_holds_back_the_source() -> None:
    source = Source(1_000)
    stages = (PipeStage(name="quick"), PipeStage(name="stuck", parallelism=2, batch_size=3), PipeStage(name="idle"))
    feed = pipe(*stages)
    pulled: list[int] = []

    async def stuck(_: Sequence[int]) -> Sequence[StageVerdict[Any]]:
        await asyncio.Event().wait()
        return []

    runner = PipeRunner(feed, source.pull, {"quick": pass_all, "stuck": stuck, "idle": pass_all})

    def is_still() -> bool:
        pulled.append(source.pulled)
        return len(pulled) > 100 and pulled[-1] == pulled[-100]

    await run_until(runner, is_still)
    assert 2 * 3 <= source.pulled <= feed.max_held + 1
    assert runner.waiting == {"quick": 2, "stuck": 3, "idle": 0}
    assert source.settled == 0


async def test_a_stage_handles_as_many_batches_at_a_time_as_it_may() -> None:
    source = Source(100)
    running = most = 0
    sizes: set[int] = set()

    async def count(items: Sequence[int]) -> Sequence[StageVerdict[Any]]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        sizes.add(len(items))
        await asyncio.sleep(0.002)
        running -= 1
        return await pass_all(items)

    runner = PipeRunner(pipe(PipeStage(name="push", parallelism=3, batch_size=4)), source.pull, {"push": count})
    await run_until(runner, lambda: source.settled == source.items)
    assert most == 3
    assert max(sizes) == 4
    load = runner.loads["push"]
    assert load.items == 100
    assert load.batches >= 25
    assert load.busy_s >= 0.002 * load.batches


async def test_a_stage_with_a_rate_never_exceeds_it() -> None:
    source = Source(1_000)
    rate, burst = 500.0, 5
    began = time.monotonic()
    runner = PipeRunner(
        pipe(PipeStage(name="push", parallelism=4, batch_size=5, rate_per_s=rate, burst=burst)),
        source.pull,
        {"push": pass_all},
    )
    await run_until(runner, lambda: runner.ends[PipeEnd.DELIVERED] >= 100)
    assert runner.ends[PipeEnd.DELIVERED] <= rate * (time.monotonic() - began) + burst


async def test_an_error_of_the_source_ends_the_run() -> None:
    async def pull() -> Item:
        raise ConnectionError("closed")

    runner = PipeRunner(pipe(PipeStage(name="push")), pull, {"push": pass_all})
    ended: Awaitable[None] = runner.run()
    with pytest.raises(ConnectionError, match="closed"):
        await asyncio.wait_for(ended, DEADLINE_S)
