"""Rows that have been sent and are not marked yet: they stay their relay's until the outbox has noted them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from prebook.messaging.errors import error_summary
from prebook.messaging.outbox.leases import Leases, QueueKey

MARK_DELAY_S, RETRY_DELAY_S = 0.01, 0.5
"""Many rows with one mark; but another relay of the service takes nothing that comes behind an unmarked row."""
log = structlog.get_logger()


class SentMarker:
    """One mark at a time, for all that were sent since the one before. What is marked is no longer held."""

    def __init__(self, mark: Callable[[Collection[int]], Awaitable[None]], leases: Leases) -> None:
        self._mark, self._leases, self._lock = mark, leases, asyncio.Lock()
        self._unmarked: dict[int, QueueKey] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def unmarked(self) -> Collection[int]:
        return tuple(self._unmarked)

    def __contains__(self, seq: int) -> bool:
        return seq in self._unmarked

    def add(self, seq: int, key: QueueKey) -> None:
        self._unmarked[seq] = key
        self._schedule_flush(MARK_DELAY_S)

    async def flush(self) -> None:
        """What cannot be marked now is marked later."""
        async with self._lock:
            try:
                if marked := self.unmarked:
                    await self._mark(marked)
                    for seq in marked:
                        self._leases.remove(self._unmarked.pop(seq), (seq,))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._schedule_flush(RETRY_DELAY_S)
                log.warning("mark-as-sent failed, retrying", rows=len(marked), error=error_summary(error))
            finally:  # cancelled, too: nobody else looks for what came meanwhile
                if self._unmarked:
                    self._schedule_flush(MARK_DELAY_S)

    def _schedule_flush(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start_flush)

    def _start_flush(self) -> None:
        self._timer = None
        if self._lock.locked():
            return  # it looks again at its end
        task = asyncio.create_task(self.flush())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
