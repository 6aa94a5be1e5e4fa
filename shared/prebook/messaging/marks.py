"""Rows that have been sent and are not marked yet: they stay their relay's until the outbox has noted them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from prebook.messaging.failures import spelled

WITHIN_S, AGAIN_S = 0.01, 0.5
"""Many rows with one mark; but another relay of the service takes nothing that comes behind an unmarked row."""
log = structlog.get_logger()


class Marks:
    """One mark at a time, for all that were sent since the one before."""

    def __init__(self, mark: Callable[[Collection[int]], Awaitable[None]]) -> None:
        self._mark, self._one_at_a_time = mark, asyncio.Lock()
        self._unmarked: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def left(self) -> frozenset[int]:
        return frozenset(self._unmarked)

    def add(self, seq: int) -> None:
        self._unmarked.add(seq)
        self._within(WITHIN_S)

    async def all(self) -> None:
        """What cannot be marked now is marked later."""
        async with self._one_at_a_time:
            try:
                if marked := self.left:
                    await self._mark(marked)
                    self._unmarked -= marked
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                log.warning("sent, and not marked yet", rows=len(marked), error=spelled(error))
                self._within(AGAIN_S)

    def _within(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> None:
        self._timer = None
        task = asyncio.create_task(self.all())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
