"""Rows that have been sent and are not marked yet: they stay their relay's until the outbox has noted them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

MARKED_WITHIN_S, AGAIN_S = 0.01, 0.5
"""Another relay of the service takes nothing that comes behind an unmarked row."""
T = TypeVar("T")
Mark = Callable[[Collection[int]], Awaitable[T]]


class Marks:
    """Taken along by whatever goes to the outbox next (``by``); where nothing does so soon, marked ``apart``."""

    def __init__(self, apart: Mark[None]) -> None:
        self._apart = apart
        self._unmarked, self._under_way = set[int](), set[int]()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def left(self) -> Collection[int]:
        return frozenset(self._unmarked)

    def add(self, seq: int) -> None:
        self._unmarked.add(seq)
        self._within(MARKED_WITHIN_S)

    async def by(self, mark: Mark[T]) -> T:
        """What ``mark`` returned. Where it raises, what it was given is marked by a later one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        given = self._unmarked - self._under_way
        self._under_way |= given
        try:
            done = await mark(given)
            self._unmarked -= given
        finally:
            self._under_way -= given
        return done

    async def all(self) -> None:
        try:
            await self.by(self._apart)
        except Exception:  # noqa: BLE001 - whatever it is, it is tried again
            self._within(AGAIN_S)

    def _within(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._start)

    def _start(self) -> None:
        """Not a claim, where nothing else asks for one: that looks at all that is held back."""
        self._timer = None
        task = asyncio.create_task(self.all())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
