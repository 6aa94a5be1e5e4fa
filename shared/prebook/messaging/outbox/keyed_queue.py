"""Who comes after whom under one key: each waits for the one before it, and hears from it whether it may go."""

import asyncio
from collections.abc import Hashable
from typing import Generic, Self, TypeVar

K = TypeVar("K", bound=Hashable)


class Lines(Generic[K]):
    """Of keys under which somebody stands; others are not known."""

    def __init__(self) -> None:
        self.looks = 0
        self._last: dict[K, Place[K]] = {}
        self._stopped: set[K] = set()
        """Since the last look."""

    def look(self) -> None:
        """Somebody looks now who may join. Whoever joins after a look may not have seen what was stopped since it
        began, and steps back.
        """
        self.looks += 1
        self._stopped.clear()

    def joined(self, key: K) -> "Place[K]":
        """The last place in the key's line."""
        place = self._last[key] = Place(self, key, self._last.get(key), may_go=key not in self._stopped)
        return place

    def left(self, place: "Place[K]") -> None:
        if place.stopped == self.looks:
            self._stopped.add(place.key)
        if self._last.get(place.key) is place:
            del self._last[place.key]


class Place(Generic[K]):
    """``async with place`` comes to the front. ``go_on``, set before it ends, is what the next one hears.

    None: what this one has heard itself, since there was nothing of its own to stop for.
    """

    __slots__ = ("_before", "_behind", "_heard", "_left", "_lines", "_looked", "go_on", "key", "may_go", "stopped")

    def __init__(self, lines: Lines[K], key: K, before: "Place[K] | None", *, may_go: bool) -> None:
        self.key, self.may_go = key, may_go
        self.go_on: bool | None = False
        self.stopped: int | None = None
        """In which look the line was stopped, by this one or one before it; None: it goes on."""
        self._lines, self._before, self._left = lines, before, False
        self._looked = lines.looks
        self._heard: int | None = None
        self._behind: asyncio.Future[None] | None = None
        """Of the next one, where it is waiting."""

    async def __aenter__(self) -> Self:
        """``may_go`` tells: not where one before it has stopped the line since this one's look."""
        if self._before is not None:
            try:
                await self._before.over()
            except BaseException:
                self._leave()
                raise
            self._heard, self._before = self._before.stopped, None
            self.may_go = self.may_go and (self._heard is None or self._heard < self._looked)
        return self

    def stop(self) -> None:
        """The line, as of the present look: who has looked since then knows of it, and may go."""
        self.stopped = self._lines.looks

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def over(self) -> None:
        """Until it has left. Only the next one waits for that."""
        if not self._left:
            self._behind = asyncio.get_running_loop().create_future()
            await self._behind

    def _leave(self) -> None:
        self._left = True
        if not self.go_on and self.stopped is None:
            self.stopped = self._heard if self.go_on is None else self._lines.looks
        if self._behind is not None and not self._behind.done():
            self._behind.set_result(None)
        self._lines.left(self)
