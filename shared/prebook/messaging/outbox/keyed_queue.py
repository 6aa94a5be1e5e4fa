"""Per-key FIFO queue for outbox batches: a batch is sent only after every earlier batch with its key.

Ordering rule. The relay scans the outbox and enqueues what it leased. When a batch fails, later batches with the same
key must not overtake it. Batches leased by a scan that began *before* the failure rest on stale reads and are released;
a scan that began after it has seen the failed row and may proceed.

Source: EIP, Resequencer (kin: it keeps an order that exists, rather than restoring one).
"""

import asyncio
from collections.abc import Hashable
from enum import Enum
from typing import Generic, Self, TypeVar

K = TypeVar("K", bound=Hashable)


class BatchResult(Enum):
    """Outcome of a batch."""

    SENT = "sent"
    FAILED = "failed"
    EMPTY = "empty"
    """Had no rows: propagates its predecessor's block, if any."""


class KeyedQueue(Generic[K]):
    """One FIFO queue per key; keys without waiting batches take no memory."""

    def __init__(self) -> None:
        self.scan = 0
        """Number of the current outbox scan."""
        self._tail: dict[K, Ticket[K]] = {}
        self._blocked_in_this_scan: set[K] = set()

    def new_scan(self) -> None:
        """Start a new outbox scan. Tickets issued from now on have seen every failure recorded so far."""
        self.scan += 1
        self._blocked_in_this_scan.clear()

    def enqueue(self, key: K) -> "Ticket[K]":
        """Append a ticket to the queue of ``key``."""
        ticket = Ticket(self, key, predecessor=self._tail.get(key), may_send=key not in self._blocked_in_this_scan)
        self._tail[key] = ticket
        return ticket

    def remove(self, ticket: "Ticket[K]") -> None:
        """Forget a ticket that has left; a key blocked during the current scan stays blocked until the next one."""
        if ticket.blocked_at_scan == self.scan:
            self._blocked_in_this_scan.add(ticket.key)
        if self._tail.get(ticket.key) is ticket:
            del self._tail[ticket.key]


class Ticket(Generic[K]):
    """A batch's position in the queue of its key.

    ``async with ticket`` waits until all predecessors have left. Set ``result`` before the block ends.
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

    def __init__(self, queue: KeyedQueue[K], key: K, *, predecessor: "Ticket[K] | None", may_send: bool) -> None:
        self.key = key
        self.may_send = may_send
        """Whether the batch may send its rows; final once ``async with`` has been entered."""
        self.result = BatchResult.FAILED
        """Result of the batch; a batch that ends without setting it has failed."""
        self.blocked_at_scan: int | None = None
        """Scan during which this batch, or one it inherited from, blocked the key; None while the key is open."""
        self._queue = queue
        self._predecessor = predecessor
        self._issued_at_scan = queue.scan
        self._inherited_block: int | None = None
        self._successor: asyncio.Future[None] | None = None
        self._left = False

    async def __aenter__(self) -> Self:
        if self._predecessor is not None:
            try:
                await self._predecessor.wait_until_left()
            except BaseException:
                self.leave()
                raise
            self._inherited_block = self._predecessor.blocked_at_scan
            self._predecessor = None
            stale = self._inherited_block is not None and self._inherited_block >= self._issued_at_scan
            self.may_send = self.may_send and not stale
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    def block(self) -> None:
        """Block the key as of the current scan; only tickets of later scans may send."""
        self.blocked_at_scan = self._queue.scan

    async def wait_until_left(self) -> None:
        """Return once this ticket has left the queue. Awaited by its direct successor only."""
        if not self._left:
            self._successor = asyncio.get_running_loop().create_future()
            await self._successor

    def leave(self) -> None:
        """Leave the queue, so that the next ticket may enter; done at the end of ``async with``."""
        self._left = True
        if self.result is BatchResult.EMPTY and self.blocked_at_scan is None:
            self.blocked_at_scan = self._inherited_block
        elif self.result is BatchResult.FAILED and self.blocked_at_scan is None:
            self.blocked_at_scan = self._queue.scan
        if self._successor is not None and not self._successor.done():
            self._successor.set_result(None)
        self._queue.remove(self)
