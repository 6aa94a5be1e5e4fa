"""Push target of the experiments: an HTTP endpoint in the lab's process that records what it gets, and when."""

import asyncio
import time
from collections.abc import Collection

from aiohttp import web


class RecordingTarget:
    """Target that handles ``slots`` pushes at a time, each in ``push_s`` seconds; further ones wait in it.

    ``refused``: names of items that it refuses with status 422.
    """

    def __init__(self, *, push_s: float, slots: int, refused: Collection[str] = ()) -> None:
        self.arrivals: list[tuple[str, float]] = []
        """Name and monotonic time of each accepted item, repetitions included."""
        self.in_flight = 0
        self.max_in_flight = 0
        self._push_s = push_s
        self._slots = asyncio.Semaphore(slots)
        self._refused = frozenset(refused)

    @property
    def names(self) -> set[str]:
        """Names of the accepted items."""
        return {name for name, _ in self.arrivals}

    async def handle(self, request: web.Request) -> web.Response:
        """Accept or refuse one push."""
        names = [item["name"] for item in await request.json()]
        arrived_s = time.monotonic()
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            async with self._slots:
                await asyncio.sleep(self._push_s)
        finally:
            self.in_flight -= 1
        if self._refused.intersection(names):
            return web.Response(status=422)
        self.arrivals += [(name, arrived_s) for name in names]
        return web.Response(status=204)
