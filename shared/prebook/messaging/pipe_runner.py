"""Runner of a pipe: pulls items from a source, passes them through the stages, and settles each of them once.

An item is settled with the source only when it is filtered out, delivered or parked. If the runner is killed before
that, the source delivers the item again, and the target recognises a repetition by the item's id.

Source: EIP, Pipes and Filters; Reactive Streams (back pressure by bounded buffers).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from prebook.asyncio_tools import first_error_task_group
from prebook.messaging.errors import Unreachable, error_summary
from prebook.patterns.bucket import TokenBucket
from prebook.patterns.pipe import Filtered, Passed, Pipe, PipeEnd, PipeStage, Refused, StageVerdict

RETRY_INTERVAL_S = 1.0
"""Seconds after which a stage repeats a batch whose receiver was unreachable and named no other time."""
FAILED = "stage_failed"
"""Cause of an item for which a stage raised an error."""
log = structlog.get_logger()


class PulledItem(Protocol):
    """An item that the source has delivered and that is not settled."""

    @property
    def content(self) -> Any:
        """The item, as the first stage gets it."""
        ...

    async def complete(self) -> None:
        """Settle the item: the source never delivers it again."""
        ...

    async def park(self, cause: str, reason: str) -> None:
        """Park the item with a machine-readable cause and a text for people, and settle it. Raises Unreachable."""
        ...


StageWork = Callable[[Sequence[Any]], Awaitable[Sequence[StageVerdict[Any]]]]
"""Handles a batch; returns one verdict for each item, in their order. Raises Unreachable to have the batch repeated."""


@dataclass(slots=True)
class StageLoad:
    """Work of one stage so far."""

    batches: int = 0
    items: int = 0
    busy_s: float = 0.0
    """Total duration of all batches in seconds, without the time that they waited for the rate limit."""


@dataclass(frozen=True, slots=True)
class _InPipe:
    """An item between two stages, as the previous stage has left it."""

    pulled: PulledItem
    item: Any


class _RateLimit:
    """Limit of a stage's items per second, shared by all of its batches."""

    def __init__(self, stage: PipeStage) -> None:
        now = time.monotonic()
        rate = stage.rate_per_s
        self._bucket = TokenBucket(per_s=rate, burst=float(stage.burst), tokens=0.0, at=now) if rate else None

    async def wait_for(self, items: int) -> None:
        """Take a token for each item; return when the last of them is there."""
        if self._bucket:
            now = time.monotonic()
            wait_s = 0.0
            for _ in range(items):
                wait_s = self._bucket.wait_s(now)
                self._bucket = self._bucket.taken(now)
            await asyncio.sleep(wait_s)


class PipeRunner:
    """Runs one pipe. ``works``: the work of each stage, by its name."""

    def __init__(self, pipe: Pipe, pull: Callable[[], Awaitable[PulledItem]], works: Mapping[str, StageWork]) -> None:
        self.loads = {stage.name: StageLoad() for stage in pipe.stages}
        """Work of each stage, by its name."""
        self.ends: Counter[PipeEnd] = Counter()
        """Number of settled items by their end."""
        self._pulled = 0
        self._pipe = pipe
        self._pull = pull
        self._works = works
        self._buffers: list[asyncio.Queue[_InPipe]] = [asyncio.Queue(pipe.buffer_size(stage)) for stage in pipe.stages]

    @property
    def waiting(self) -> dict[str, int]:
        """Number of items that wait before each stage, by its name."""
        return {stage.name: buffer.qsize() for stage, buffer in zip(self._pipe.stages, self._buffers, strict=True)}

    @property
    def held(self) -> int:
        """Number of items that the source has delivered and that are not settled."""
        return self._pulled - self.ends.total()

    async def run(self) -> None:
        """Run until cancelled. Raises what the source raises."""
        async with first_error_task_group() as tasks:
            tasks.create_task(self._fill())
            for number, stage in enumerate(self._pipe.stages):
                limit = _RateLimit(stage)
                for _ in range(stage.parallelism):
                    tasks.create_task(self._work(number, stage, limit))

    async def _fill(self) -> None:
        while True:
            pulled = await self._pull()
            self._pulled += 1
            await self._buffers[0].put(_InPipe(pulled, pulled.content))

    async def _work(self, number: int, stage: PipeStage, limit: _RateLimit) -> None:
        while True:
            batch = await _next_batch(self._buffers[number], stage.batch_size)
            await limit.wait_for(len(batch))
            verdicts = await self._handle(stage, [each.item for each in batch])
            for each, verdict in zip(batch, verdicts, strict=True):
                await self._hand_on(number, each.pulled, verdict)

    async def _handle(self, stage: PipeStage, items: Sequence[Any]) -> Sequence[StageVerdict[Any]]:
        load = self.loads[stage.name]
        while True:
            began = time.monotonic()
            try:
                verdicts = await self._works[stage.name](items)
            except Unreachable as error:
                log.warning("stage waits for its dependency", stage=stage.name, error=error_summary(error))
                await asyncio.sleep(error.retry_after_s or RETRY_INTERVAL_S)
                continue
            except Exception as error:  # noqa: BLE001 - a stage may raise anything, and every item is settled
                return await self._refuse_failed(stage, items, error)
            load.batches += 1
            load.items += len(items)
            load.busy_s += time.monotonic() - began
            return verdicts

    async def _refuse_failed(
        self, stage: PipeStage, items: Sequence[Any], error: Exception
    ) -> Sequence[StageVerdict[Any]]:
        """Handle the items of a failed batch one by one, and refuse those for which the stage fails alone."""
        if len(items) == 1:
            return [Refused(FAILED, error_summary(error))]
        return [verdict for item in items for verdict in await self._handle(stage, [item])]

    async def _hand_on(self, number: int, pulled: PulledItem, verdict: StageVerdict[Any]) -> None:
        match verdict:
            case Passed(item) if number + 1 < len(self._buffers):
                await self._buffers[number + 1].put(_InPipe(pulled, item))
            case Passed():
                await pulled.complete()
                self.ends[PipeEnd.DELIVERED] += 1
            case Filtered():
                await pulled.complete()
                self.ends[PipeEnd.FILTERED] += 1
            case Refused(cause, reason):
                await _park(pulled, cause, reason)
                self.ends[PipeEnd.PARKED] += 1


async def _next_batch(buffer: "asyncio.Queue[_InPipe]", size: int) -> list[_InPipe]:
    """Wait for an item, and return it with those that wait behind it, at most ``size`` in all."""
    batch = [await buffer.get()]
    while len(batch) < size and not buffer.empty():
        batch.append(buffer.get_nowait())
    return batch


async def _park(pulled: PulledItem, cause: str, reason: str) -> None:
    """Park an item; retry until the broker confirms."""
    while True:
        try:
            return await pulled.park(cause, reason)
        except Unreachable as error:
            log.warning("item not parked", cause=cause, error=error_summary(error))
            await asyncio.sleep(RETRY_INTERVAL_S)
