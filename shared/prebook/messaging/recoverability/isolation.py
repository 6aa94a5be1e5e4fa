"""Isolation of redelivered messages: one that may have killed its consumer is handled alone in its process.

Its neighbours, which were unacknowledged at the crash and are redelivered with it, are handled one at a time too. So a
message that kills its process kills it alone, and it alone reaches the delivery limit of its queue.
Source: Release It!, Bulkheads.
"""

import asyncio
import random

MAX_TURN_DELAY_S = 0.1
"""Maximum random delay before a message that was redelivered more than once. Messages of several queues wait for their
turn, and whichever stands behind the crashing one is redelivered once more: the order must differ from crash to crash.
"""


class Isolation:
    """Turns of the messages of one process: any number of first deliveries at a time, or one redelivery.

    ``begin`` and ``end`` surround the handling of a message; a context manager would cost ten times as much.
    """

    def __init__(self) -> None:
        self._handled = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._shared = asyncio.Event()
        self._shared.set()
        self._turn = asyncio.Lock()

    async def begin(self, redeliveries: int) -> None:
        """Wait until the message may be handled. ``redeliveries``: how often it was delivered before.

        If it raises, as when cancelled, the turn has not begun and must not be ended.
        """
        if redeliveries:
            return await self._begin_alone(redeliveries)
        while not self._shared.is_set():
            await self._shared.wait()
        self._handled += 1
        return self._idle.clear()

    def end(self, redeliveries: int) -> None:
        """End the turn of a message, with the same ``redeliveries``."""
        if redeliveries:
            self._shared.set()
            self._turn.release()
            return
        self._handled -= 1
        if not self._handled:
            self._idle.set()

    async def _begin_alone(self, redeliveries: int) -> None:
        if redeliveries > 1:
            await asyncio.sleep(random.uniform(0.0, MAX_TURN_DELAY_S))
        await self._turn.acquire()
        self._shared.clear()
        try:
            await self._idle.wait()
        except BaseException:
            self.end(redeliveries)
            raise
