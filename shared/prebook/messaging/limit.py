"""A time limit for each of many short pieces of work: one look at all of them twice a second.

A timer each would cost more than most of what they guard, which is over within milliseconds.
"""

import asyncio
from types import TracebackType
from typing import Any

LOOK_EVERY_S = 0.5


class Limit:
    """``with limit:`` raises TimeoutError in a task that has been in it for ``after_s``, or up to half a second longer.

    A task is in it once at a time. Whoever else cancels the task meanwhile is not mistaken for the limit.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._inside: dict[asyncio.Task[Any], tuple[float, int]] = {}
        """When it is too late, and how many had asked the task to end before."""
        self._too_late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        loop, task = asyncio.get_running_loop(), _this_task()
        self._inside[task] = loop.time() + self._after_s, task.cancelling()
        if self._timer is None:
            self._timer = loop.call_later(LOOK_EVERY_S, self._look, loop)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        task = _this_task()
        _due, asked_before = self._inside.pop(task)
        if task in self._too_late:
            self._too_late.discard(task)
            if task.uncancel() <= asked_before and kind is asyncio.CancelledError:
                raise TimeoutError(f"not done within {self._after_s:g} s") from error

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(LOOK_EVERY_S, self._look, loop) if self._inside else None
        for task, (due, _) in self._inside.items():
            if due <= loop.time() and task not in self._too_late:
                self._too_late.add(task)
                task.cancel()


def _this_task() -> "asyncio.Task[Any]":
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a limit is for the work of a task")
    return task
