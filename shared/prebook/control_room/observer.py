"""Observer of the suite: reads its sources while somebody follows the feed, and does nothing otherwise."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from prebook.control_room.feed import Feed
from prebook.messaging.errors import Unreachable, error_summary

HEARTBEAT_INTERVAL_S = 1.0
REST_FACTOR = 4.0
"""Seconds of rest per second of reading, so that a suite that is slow to answer is asked less often."""
MAX_REST_S = 5.0


class Source(Protocol):
    """Something to read figures from."""

    name: str
    interval_s: float
    """Least seconds between two readings."""

    async def read(self) -> Mapping[str, Any]:
        """Return the sections that it fills. Raises Unreachable."""
        ...


class Observer:
    """Fills a feed from its sources. One that fails leaves the figures of the others alone."""

    def __init__(self, feed: Feed, sources: Sequence[Source]) -> None:
        self._feed = feed
        self._sources = sources
        self._failures: dict[str, str] = {}

    async def run(self) -> None:
        """Observe for ever."""
        while True:
            await self._feed.watched.wait()
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._read_again_and_again(source)) for source in self._sources]
                running.append(tasks.create_task(self._beat()))
                await self._feed.unwatched.wait()
                for task in running:
                    task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)
            self._feed.beat()

    async def _read_again_and_again(self, source: Source) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            await self._read(source)
            await asyncio.sleep(max(source.interval_s, min(MAX_REST_S, (clock() - began) * REST_FACTOR)))

    async def _read(self, source: Source) -> None:
        sections: Mapping[str, Any] = {}
        try:
            sections = await source.read()
            self._failures[source.name] = ""
        except Unreachable as error:
            self._failures[source.name] = str(error)
        except Exception as error:  # noqa: BLE001 - whatever one source answers must not end the others
            self._failures[source.name] = error_summary(error)
        if self._feed.watched.is_set():  # else the next reader would take old figures for new ones
            self._feed.publish({**sections, "sources": dict(self._failures)})
