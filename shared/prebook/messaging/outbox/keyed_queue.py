"""Who comes after whom under one key: each waits for the one before it, and hears from it whether it may go."""

import asyncio
from collections.abc import Hashable
from typing import Generic, Self, TypeVar

K = TypeVar("K", bound=Hashable)


class KeyedQueue(Generic[K]):
    """Of keys under which somebody stands; others are not known."""

    def __init__(self) -> None:
        self.scan = 0
        self._tail: dict[K, Ticket[K]] = {}
        self._blocked_in_this_scan: set[K] = set()
        """Since the last look."""

    def new_scan(self) -> None:
        """Somebody looks now who may join. Whoever joins after a look may not have seen what was stopped since it
        began, and steps back.
        """
        self.scan += 1
        self._blocked_in_this_scan.clear()

    def enqueue(self, key: K) -> "Ticket[K]":
        """The last place in the key's line."""
        place = self._tail[key] = Ticket(self, key, self._tail.get(key), may_send=key not in self._blocked_in_this_scan)
        return place

    def remove(self, ticket: "Ticket[K]") -> None:
        if ticket.blocked_at_scan == self.scan:
            self._blocked_in_this_scan.add(ticket.key)
        if self._tail.get(ticket.key) is ticket:
            del self._tail[ticket.key]


class Ticket(Generic[K]):
    """``async with place`` comes to the front. ``go_on``, set before it ends, is what the next one hears.

    None: what this one has heard itself, since there was nothing of its own to stop for.
    """

    __slots__ = (
        "_inherited_block",
        "_issued_at_scan",
        "_left",
        "_predecessor",
        "_queue",
        "_successor",
        "blocked_at_scan",
        "key",
        "may_send",
        "result",
    )

    def __init__(self, queue: KeyedQueue[K], key: K, predecessor: "Ticket[K] | None", *, may_send: bool) -> None:
        self.key, self.may_send = key, may_send
        self.result: bool | None = False
        self.blocked_at_scan: int | None = None
        """In which look the line was stopped, by this one or one before it; None: it goes on."""
        self._queue, self._predecessor, self._left = queue, predecessor, False
        self._issued_at_scan = queue.scan
        self._inherited_block: int | None = None
        self._successor: asyncio.Future[None] | None = None
        """Of the next one, where it is waiting."""

    async def __aenter__(self) -> Self:
        """``may_go`` tells: not where one before it has stopped the line since this one's look."""
        if self._predecessor is not None:
            try:
                await self._predecessor.wait_until_left()
            except BaseException:
                self._leave()
                raise
            self._inherited_block, self._predecessor = self._predecessor.blocked_at_scan, None
            self.may_send = self.may_send and (
                self._inherited_block is None or self._inherited_block < self._issued_at_scan
            )
        return self

    def block(self) -> None:
        """The line, as of the present look: who has looked since then knows of it, and may go."""
        self.blocked_at_scan = self._queue.scan

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def wait_until_left(self) -> None:
        """Until it has left. Only the next one waits for that."""
        if not self._left:
            self._successor = asyncio.get_running_loop().create_future()
            await self._successor

    def _leave(self) -> None:
        self._left = True
        if not self.result and self.blocked_at_scan is None:
            self.blocked_at_scan = self._inherited_block if self.result is None else self._queue.scan
        if self._successor is not None and not self._successor.done():
            self._successor.set_result(None)
        self._queue.remove(self)
