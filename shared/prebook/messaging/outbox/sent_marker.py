"""Sent marker: records sent rows in the outbox, many rows with one statement.

A row that has been sent keeps its lease until the outbox has recorded it as sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from prebook.asyncio_tools import OwnedTasks
from prebook.messaging.crash_points import CrashPoint, reach
from prebook.messaging.errors import error_summary
from prebook.messaging.outbox.leases import Leases, QueueKey

MARK_DELAY_S = 0.01
"""Seconds that a sent row waits for others. Longer would save statements, but another relay of the service claims no
row behind an unmarked one."""
RETRY_DELAY_S = 0.5
"""Seconds after which a failed mark is repeated."""
log = structlog.get_logger()


class SentMarker:
    """Marks sent rows in batches, one statement at a time, and ends the lease of each row once it is marked.

    Rows added before ``start`` or after ``stop`` are marked after the next ``start``.
    """

    def __init__(self, mark: Callable[[Collection[int]], Awaitable[None]], leases: Leases) -> None:
        """``mark`` records the rows with the given sequence numbers as sent; it may raise anything."""
        self._mark = mark
        self._leases = leases
        self._lock = asyncio.Lock()
        self._unmarked: dict[int, QueueKey] = {}
        self._is_started = False
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = OwnedTasks()

    @property
    def unmarked(self) -> Collection[int]:
        """Sequence numbers of the rows that have been sent and are not marked yet."""
        return tuple(self._unmarked)

    def __contains__(self, seq: int) -> bool:
        return seq in self._unmarked

    def start(self) -> None:
        """Start to mark rows, first those that ``stop`` has left."""
        self._is_started = True
        if self._unmarked:
            self._schedule_flush(MARK_DELAY_S)

    async def stop(self, timeout_s: float) -> None:
        """Mark all sent rows, and leave neither a timer nor a task behind.

        A statement that takes longer than ``timeout_s`` seconds is cancelled. Raises nothing: rows that could not be
        marked stay leased.
        """
        self._is_started = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unmarked:
            self._tasks.start(self.flush())
        await self._tasks.stop(timeout_s)

    def add(self, seq: int, key: QueueKey) -> None:
        """Schedule the row ``seq``, leased under ``key``, to be marked as sent."""
        self._unmarked[seq] = key
        self._schedule_flush(MARK_DELAY_S)

    async def flush(self) -> None:
        """Mark all sent rows now. A failure is logged, and the marks are repeated after ``RETRY_DELAY_S``."""
        async with self._lock:
            try:
                if marked := self.unmarked:
                    reach(CrashPoint.BEFORE_MARK)
                    await self._mark(marked)
                    reach(CrashPoint.AFTER_MARK)
                    for seq in marked:
                        self._leases.remove(self._unmarked.pop(seq), (seq,))
            except Exception as error:  # noqa: BLE001 - any failure of the database is retried
                self._schedule_flush(RETRY_DELAY_S)
                log.warning("mark-as-sent failed, retrying", rows=len(marked), error=error_summary(error))
            finally:  # also when cancelled: rows added during the flush have no timer
                if self._unmarked:
                    self._schedule_flush(MARK_DELAY_S)

    def _schedule_flush(self, delay_s: float) -> None:
        if self._is_started and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._start_flush)

    def _start_flush(self) -> None:
        self._timer = None
        if not self._lock.locked():  # else the running flush schedules another one when it ends
            self._tasks.start(self.flush())
