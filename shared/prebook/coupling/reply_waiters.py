"""Reply waiters: open HTTP calls of this process that wait for a reply."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from prebook.messaging.envelope import Envelope


class ReplyWaiters:
    """Futures of this process by reply id; an id without waiting calls takes no memory."""

    def __init__(self) -> None:
        self._futures: dict[str, list[asyncio.Future[Envelope]]] = defaultdict(list)

    @contextmanager
    def register(self, reply_id: str) -> Iterator[asyncio.Future[Envelope]]:
        """Return a future of the reply with this id; leaving the block removes it."""
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._futures[reply_id].append(future)
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

    def __len__(self) -> int:
        return len(self._futures)
