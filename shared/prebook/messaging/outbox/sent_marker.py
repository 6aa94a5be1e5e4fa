"""Rows that have been sent and are not marked yet: they stay their relay's until the outbox has noted them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from prebook.messaging.errors import spelled
from prebook.messaging.outbox.leases import Holdings, Key

WITHIN_S, AGAIN_S = 0.01, 0.5
"""Many rows with one mark; but another relay of the service takes nothing that comes behind an unmarked row."""
log = structlog.get_logger()


class Marks:
    """One mark at a time, for all that were sent since the one before. What is marked is no longer held."""

    def __init__(self, mark: Callable[[Collection[int]], Awaitable[None]], holdings: Holdings) -> None:
        self._mark, self._holdings, self._one_at_a_time = mark, holdings, asyncio.Lock()
        self._unmarked: dict[int, Key] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def left(self) -> Collection[int]:
        return tuple(self._unmarked)

    def __contains__(self, seq: int) -> bool:
        return seq in self._unmarked

    def add(self, seq: int, key: Key) -> None:
        self._unmarked[seq] = key
        self._within(WITHIN_S)

    async def all(self) -> None:
        """What cannot be marked now is marked later."""
        async with self._one_at_a_time:
            try:
                if marked := self.left:
                    await self._mark(marked)
                    for seq in marked:
                        self._holdings.drop(self._unmarked.pop(seq), (seq,))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._within(AGAIN_S)
                log.warning("sent, and not marked yet", rows=len(marked), error=spelled(error))
            finally:  # cancelled, too: nobody else looks for what came meanwhile
                if self._unmarked:
                    self._within(WITHIN_S)

    def _within(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> None:
        self._timer = None
        if self._one_at_a_time.locked():
            return  # it looks again at its end
        task = asyncio.create_task(self.all())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
