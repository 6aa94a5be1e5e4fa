"""Task helpers: reliable cancellation, tasks that end with their owner, plain errors of groups, coarse timeouts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, TypeVar


def raise_if_cancelled() -> None:
    """Raise ``CancelledError`` if this task was cancelled and a client library has swallowed the cancellation.

    ``asyncio.wait_for`` of Python 3.11, which the broker and database clients use, drops a cancellation that arrives in
    the same turn of the loop as the result (python/cpython#86296). A loop that continues after any error must call
    this, or it never ends.
    """
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


T = TypeVar("T")


CANCEL_TIMEOUT_S = 1.0
"""Seconds that cancelled tasks have to end: most end at once, and a process that stops has little time."""


class OwnedTasks:
    """Tasks that end with their owner: it calls ``stop``, or ``wait`` and ``cancel``, before it ends itself.

    It keeps references to its tasks: the event loop has weak ones only, and a task could be garbage-collected.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` in a task."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run_shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` and return its result. Cancelling the caller does not cancel the work. Raises what it raises."""
        return await asyncio.shield(self.start(work))

    async def wait(self, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` seconds until all tasks have ended, those started during the wait included."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._tasks:
                    await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancel all tasks, and wait until they have ended, at most ``CANCEL_TIMEOUT_S``."""
        await asyncio.sleep(0)  # a task that is cancelled before it has begun would not run its ``finally`` blocks
        for task in self._tasks:
            task.cancel()
        await self.wait(CANCEL_TIMEOUT_S)

    async def stop(self, timeout_s: float) -> None:
        """Wait for all tasks, and cancel those that take longer than ``timeout_s`` seconds."""
        await self.wait(timeout_s)
        await self.cancel()


async def wait_uncancelled(future: asyncio.Future[T]) -> T:
    """Wait for a future even when cancelled (a second Ctrl-C must not leave anything running); return its result.

    Raises ``CancelledError`` afterwards if the caller was cancelled while it waited, otherwise what the future raises.
    """
    cancelled = False
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return future.result()


@asynccontextmanager
async def first_error_task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """An ``asyncio.TaskGroup`` that raises the first error of its tasks itself, not an ExceptionGroup around it."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


TIMEOUT_CHECK_INTERVAL_S = 0.5
"""Seconds between two checks of a ``CoarseTimeout``; also the maximum delay of a timeout."""


class CoarseTimeout:
    """Timeout shared by many short tasks: one timer checks all of them every ``TIMEOUT_CHECK_INTERVAL_S``.

    ``with timeout():`` raises ``TimeoutError`` in a task that stays inside for ``timeout_s`` seconds, or up to one
    check interval longer. Cancellation of the task from elsewhere stays ``CancelledError``. A timer per task
    (``asyncio.timeout``) would cost more than sending a small message.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._scopes: dict[_Scope, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> "_Scope":
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a timeout needs a running task; call it inside a coroutine run by a task")
        if self._timer is None:
            self._timer = loop.call_later(TIMEOUT_CHECK_INTERVAL_S, self._check_all, loop)
        return _Scope(self, task, loop.time() + self.timeout_s)

    def add(self, scope: "_Scope") -> None:
        """Start to check a scope; called when the ``with`` block is entered."""
        self._scopes[scope] = None

    def remove(self, scope: "_Scope") -> None:
        """Stop to check a scope; called when the ``with`` block is left."""
        del self._scopes[scope]

    def stop(self) -> None:
        """Cancel the timer, once no scope is open any more; the next scope starts it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_all(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(TIMEOUT_CHECK_INTERVAL_S, self._check_all, loop) if self._scopes else None
        for scope in self._scopes:
            scope.cancel_if_due(loop.time())


class _Scope:
    """One ``with`` block of one task. ``deadline``: loop time at which the task is cancelled."""

    __slots__ = ("_deadline", "_prior_cancellations", "_task", "_timed_out", "_timeout")

    def __init__(self, timeout: CoarseTimeout, task: "asyncio.Task[Any]", deadline: float) -> None:
        self._timeout = timeout
        self._task = task
        self._deadline = deadline
        self._prior_cancellations = task.cancelling()
        self._timed_out = False

    def cancel_if_due(self, now: float) -> None:
        if now >= self._deadline and not self._timed_out:
            self._timed_out = self._task.cancel()

    def __enter__(self) -> None:
        self._timeout.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timeout.remove(self)
        if self._timed_out and self._task.uncancel() <= self._prior_cancellations and kind is asyncio.CancelledError:
            raise TimeoutError(f"not done within {self._timeout.timeout_s:g} s") from error
