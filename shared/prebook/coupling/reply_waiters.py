"""Who is held by an open HTTP request until an answer is known here."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from prebook.messaging.envelope import Envelope


class ReplyWaiters:
    """Answer id -> futures of this process. Waiting leaves nothing behind, whether it ends well or not."""

    def __init__(self) -> None:
        self._futures: dict[str, list[asyncio.Future[Envelope]]] = defaultdict(list)

    @contextmanager
    def register(self, reply_id: str) -> Iterator[asyncio.Future[Envelope]]:
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._futures[reply_id].append(future)
        try:
            yield future
        finally:
            self._futures[reply_id].remove(future)
            if not self._futures[reply_id]:
                del self._futures[reply_id]

    def resolve(self, reply: Envelope) -> None:
        """Nobody may be waiting any more; then the stored answer serves whoever asks again."""
        for future in self._futures.get(reply.id, []):
            if not future.done():
                future.set_result(reply)

    def __len__(self) -> int:
        return len(self._futures)
