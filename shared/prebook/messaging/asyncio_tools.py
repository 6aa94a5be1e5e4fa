"""Cancellation of loops that outlive every failure."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar


def end_if_cancelled() -> None:
    """Raise ``CancelledError`` where this task was cancelled and a client under it has kept that to itself.

    ``asyncio.wait_for`` of Python 3.11, which our clients wait with, raises what its work ended with when that comes
    in the same turn as a cancellation, and the cancellation is gone (python/cpython#86296). A loop that goes on after
    any error has to ask, or it goes on for ever.
    """
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


T = TypeVar("T")


class Unbroken:
    """Keeps hold of its tasks: the loop alone would let them be collected half done."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Cancelling the caller does not cancel the work."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)


LOOK_EVERY_S = 0.5


class Limit:
    """``with limit():`` raises TimeoutError in a task that has been in it for ``after_s`` or up to half a second more.

    Whoever else cancels the task meanwhile is not mistaken for the limit.
    """

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s
        self._inside: dict[Within, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> "Within":
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a limit is for the work of a task")
        if self._timer is None:
            self._timer = loop.call_later(LOOK_EVERY_S, self._look, loop)
        return Within(self, task, loop.time() + self.after_s)

    def come(self, within: "Within") -> None:
        self._inside[within] = None

    def gone(self, within: "Within") -> None:
        del self._inside[within]

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(LOOK_EVERY_S, self._look, loop) if self._inside else None
        for within in self._inside:
            within.look(loop.time())


class Within:
    """One stay of one task. ``due``, of the loop's clock: then it is too late."""

    __slots__ = ("_asked_before", "_due", "_limit", "_task", "_too_late")

    def __init__(self, limit: Limit, task: "asyncio.Task[Any]", due: float) -> None:
        self._limit, self._task, self._due = limit, task, due
        self._asked_before, self._too_late = task.cancelling(), False

    def look(self, now: float) -> None:
        if now >= self._due and not self._too_late:
            self._too_late = self._task.cancel()

    def __enter__(self) -> None:
        self._limit.come(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._limit.gone(self)
        if self._too_late and self._task.uncancel() <= self._asked_before and kind is asyncio.CancelledError:
            raise TimeoutError(f"not done within {self._limit.after_s:g} s") from error
