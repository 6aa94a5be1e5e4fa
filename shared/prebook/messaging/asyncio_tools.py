"""Helpers for tasks: cancellation that is not lost, work that outlives it, task groups and coarse timeouts."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar


def raise_if_cancelled() -> None:
    """Raise ``CancelledError`` where this task was cancelled and a client under it has kept that to itself.

    ``asyncio.wait_for`` of Python 3.11, which our clients wait with, raises what its work ended with when that comes
    in the same turn as a cancellation, and the cancellation is gone (python/cpython#86296). A loop that goes on after
    any error has to ask, or it goes on for ever.
    """
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


T = TypeVar("T")


class ShieldedTasks:
    """Keeps hold of its tasks: the loop alone would let them be collected half done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run_shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Cancelling the caller does not cancel the work."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)


async def wait_uncancelled(future: asyncio.Future[T]) -> T:
    """Wait for the end of a future even when cancelled: a second Ctrl-C must not leave anything running.

    Raises CancelledError afterwards where the caller was cancelled meanwhile.
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


class CoarseTimeout:
    """``with timeout():`` raises TimeoutError in a task that has been in it for ``timeout_s``, or up to half a second
    more.

    Whoever else cancels the task meanwhile is not mistaken for the limit.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._scopes: dict[_Scope, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> "_Scope":
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a limit is for the work of a task")
        if self._timer is None:
            self._timer = loop.call_later(TIMEOUT_CHECK_INTERVAL_S, self._check_all, loop)
        return _Scope(self, task, loop.time() + self.timeout_s)

    def add(self, scope: "_Scope") -> None:
        self._scopes[scope] = None

    def remove(self, scope: "_Scope") -> None:
        del self._scopes[scope]

    def _check_all(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(TIMEOUT_CHECK_INTERVAL_S, self._check_all, loop) if self._scopes else None
        for within in self._scopes:
            within.cancel_if_due(loop.time())


class _Scope:
    """One stay of one task. ``due``, of the loop's clock: then it is too late."""

    __slots__ = ("_deadline", "_prior_cancellations", "_task", "_timed_out", "_timeout")

    def __init__(self, timeout: CoarseTimeout, task: "asyncio.Task[Any]", deadline: float) -> None:
        self._timeout, self._task, self._deadline = timeout, task, deadline
        self._prior_cancellations, self._timed_out = task.cancelling(), False

    def cancel_if_due(self, now: float) -> None:
        if now >= self._deadline and not self._timed_out:
            self._timed_out = self._task.cancel()

    def __enter__(self) -> None:
        self._timeout.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timeout.remove(self)
        if self._timed_out and self._task.uncancel() <= self._prior_cancellations and kind is asyncio.CancelledError:
            raise TimeoutError(f"not done within {self._timeout.timeout_s:g} s") from error
