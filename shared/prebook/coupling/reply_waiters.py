"""Reply waiters: open HTTP calls of this process that wait for a reply, which any replica may have stored."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from prebook.messaging.envelope import Envelope, request_id_of
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitOfWork

LOOKUP_INTERVAL_S = 0.1
"""Seconds between two look-ups of stored replies. A call that is younger is not looked up: most are replied to earlier,
by their own process, and cost no statement."""


class ReplyWaiters:
    """Futures of this process by reply id; an id without waiting calls takes no memory."""

    def __init__(self) -> None:
        self._futures: dict[str, list[asyncio.Future[Envelope]]] = defaultdict(list)
        self._registered = asyncio.Event()

    @contextmanager
    def register(self, reply_id: str) -> Iterator[asyncio.Future[Envelope]]:
        """Return a future of the reply with this id; leaving the block removes it."""
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._futures[reply_id].append(future)
        self._registered.set()
        try:
            yield future
        finally:
            self._futures[reply_id].remove(future)
            if not self._futures[reply_id]:
                del self._futures[reply_id]

    def resolve(self, reply: Envelope) -> None:
        """Complete all futures of a reply. Without any, nothing happens: a repeated request gets the stored reply."""
        for future in self._futures.get(reply.id, []):
            if not future.done():
                future.set_result(reply)

    def fail(self, reply_id: str, error: Exception) -> None:
        """End all waits for a reply that will not come: they raise ``error``."""
        for future in self._futures.get(reply_id, []):
            if not future.done():
                future.set_exception(error)

    async def wait_for_call(self) -> Collection[str]:
        """Return the reply ids of the waiting calls, as soon as there is one."""
        while not self._futures:
            self._registered.clear()
            await self._registered.wait()
        return set(self._futures)

    def still_waiting(self, reply_ids: Collection[str]) -> Collection[str]:
        """Return those of ``reply_ids`` for which a call still waits."""
        return [each for each in reply_ids if each in self._futures]

    def __len__(self) -> int:
        return len(self._futures)


class StoredReplyLookup:
    """Hands calls of this process the replies that other replicas have stored.

    The messages that follow from a request may be handled by any replica, and the last one stores the reply. One
    statement looks for the replies to all waiting calls.
    """

    def __init__(self, waiters: ReplyWaiters, begin: BeginUnitOfWork[UnitOfWork]) -> None:
        self._waiters = waiters
        self._begin = begin

    async def run(self) -> None:
        """Look up stored replies while calls wait, until cancelled. Raises whatever the database raises."""
        while True:
            reply_ids = await self._waiters.wait_for_call()
            await asyncio.sleep(LOOKUP_INTERVAL_S)
            if waiting := self._waiters.still_waiting(reply_ids):
                async with self._begin() as work:
                    replies = await work.find_replies([request_id_of(each) for each in waiting])
                for reply in replies:
                    self._waiters.resolve(reply)
