"""Who is held by an open HTTP request until an answer is known here."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from prebook.messaging.envelope import Envelope


class Waiters:
    """Answer id -> futures of this process. Waiting leaves nothing behind, whether it ends well or not."""

    def __init__(self) -> None:
        self._futures: dict[str, list[asyncio.Future[Envelope]]] = defaultdict(list)

    @contextmanager
    def waiting_for(self, answer_id: str) -> Iterator[asyncio.Future[Envelope]]:
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._futures[answer_id].append(future)
        try:
            yield future
        finally:
            self._futures[answer_id].remove(future)
            if not self._futures[answer_id]:
                del self._futures[answer_id]

    def wake(self, answer: Envelope) -> None:
        """Nobody may be waiting any more; then the stored answer serves whoever asks again."""
        for future in self._futures.get(answer.id, []):
            if not future.done():
                future.set_result(answer)

    def __len__(self) -> int:
        return len(self._futures)
