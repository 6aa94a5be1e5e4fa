"""Feed of the control room: the state of the suite as sections, and numbered events about their changes.

All values are absolute, so that an event that is applied twice does no harm. Source: WHATWG HTML, "Server-sent events".
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

MAX_WATCHERS = 8
"""Open streams. A browser holds one for all its tabs."""
MAX_PENDING_EVENTS = 256
"""Events that wait for a reader; one that is further behind is dropped, and told."""
MAX_HISTORY_BYTES = 1024 * 1024
"""Size of the events that are kept for readers that resume."""
FIRST_FIGURES_TIMEOUT_S = 3.0
"""Seconds that the first reader waits for figures, before it gets what there is."""
MS_PER_S = 1000
Sections = Mapping[str, Any]


class TooManyWatchers(Exception):
    """All streams are taken."""


class Feed:
    """State of the suite, and the readers that follow it.

    ``watched`` is set while there is a reader, and ``unwatched`` while there is none.
    """

    def __init__(self, wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.watched = asyncio.Event()
        self.unwatched = asyncio.Event()
        self.unwatched.set()
        self._clock = wall_clock
        self._began_at = wall_clock()
        # Numbers of an earlier process are below those of this one, so that nobody resumes its events.
        self._seq = int(self._began_at.timestamp() * MS_PER_S)
        self._sections: dict[str, Any] = {}
        self._has_figures = asyncio.Event()
        self._history: deque[tuple[int, bytes]] = deque()
        self._history_bytes = 0
        self._readers: set[_Reader] = set()
        self._is_closed = False

    def publish(self, sections: Sections, *, are_figures: bool = True) -> None:
        """Replace sections, and tell readers what has changed. A section that is not given stays as it is.

        ``are_figures``: whether the sections were read from the suite just now, for which a first reader waits.
        """
        changed = {
            name: difference
            for name, value in sections.items()
            if (difference := section_difference(self._sections.get(name), value)) is not None
        }
        self._sections.update(sections)
        if changed:
            self._send("delta", changed)
        if are_figures:
            self._has_figures.set()

    def beat(self) -> None:
        """Tell readers that the feed is alive, so that they can tell rest from silence."""
        self._send("heartbeat", {})

    async def follow(self, last_event_id: int | None = None) -> AsyncIterator[bytes]:
        """Yield encoded events: those after ``last_event_id`` if they are still known, else a snapshot; then new ones.

        A reader that does not keep up gets the event ``dropped``, and the iteration ends. Raises TooManyWatchers.
        """
        if len(self._readers) >= MAX_WATCHERS:
            raise TooManyWatchers
        reader = _Reader()
        self._add(reader)
        try:
            await self._wait_for_figures()
            reader.pending.clear()
            for known in self._events_after(last_event_id) or [self._snapshot()]:
                yield known
            while (event := await reader.take()) is not None:
                yield event
            if not self._is_closed:
                yield self._encode("dropped", self._seq, {"reason": "this reader is too slow; connect again"})
        finally:
            self._remove(reader)

    def close(self) -> None:
        """End all iterations."""
        self._is_closed = True
        for reader in self._readers:
            reader.end()

    def _add(self, reader: "_Reader") -> None:
        self._readers.add(reader)
        self.unwatched.clear()
        self.watched.set()

    def _remove(self, reader: "_Reader") -> None:
        self._readers.discard(reader)
        if not self._readers:
            self.watched.clear()
            self.unwatched.set()
            # The figures grow old from now on: the next reader waits for new ones.
            self._has_figures.clear()
            self._history.clear()
            self._history_bytes = 0

    async def _wait_for_figures(self) -> None:
        try:
            async with asyncio.timeout(FIRST_FIGURES_TIMEOUT_S):
                await self._has_figures.wait()
        except TimeoutError:
            return

    def _events_after(self, last_event_id: int | None) -> list[bytes]:
        """Return the events after one that is known; none if there is a gap, or nothing is new."""
        if last_event_id is None or not self._history:
            return []
        first_seq = self._history[0][0]
        return [event for seq, event in self._history if seq > last_event_id] if first_seq <= last_event_id + 1 else []

    def _snapshot(self) -> bytes:
        return self._encode("snapshot", self._seq, {"began_at": self._began_at, **self._sections})

    def _send(self, kind: str, body: Sections) -> None:
        self._seq += 1
        event = self._encode(kind, self._seq, body)
        self._history.append((self._seq, event))
        self._history_bytes += len(event)
        while self._history_bytes > MAX_HISTORY_BYTES:
            self._history_bytes -= len(self._history.popleft()[1])
        for reader in self._readers:
            reader.offer(event)

    def _encode(self, kind: str, seq: int, body: Sections) -> bytes:
        at = round((self._clock() - self._began_at).total_seconds() * MS_PER_S)
        data = msgspec.json.encode({"seq": seq, "at": at, **body})
        return f"id: {seq}\nevent: {kind}\ndata: ".encode() + data + b"\n\n"


class _Reader:
    """Events that wait for one reader."""

    def __init__(self) -> None:
        self.pending: deque[bytes] = deque()
        self._is_ended = False
        self._changed = asyncio.Event()

    def offer(self, event: bytes) -> None:
        """Add an event; a reader that is too far behind gets none any more."""
        if len(self.pending) >= MAX_PENDING_EVENTS:
            self.pending.clear()
            self.end()
        elif not self._is_ended:
            self.pending.append(event)
            self._changed.set()

    def end(self) -> None:
        """Offer nothing any more."""
        self._is_ended = True
        self._changed.set()

    async def take(self) -> bytes | None:
        """Wait for the next event; None once there will be none."""
        while not self.pending:
            if self._is_ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self.pending.popleft()


def section_difference(before: Any, after: Any) -> Any:
    """Return what changes a section: of a mapping the changed keys, with None for one that is gone; None: nothing."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return None if before == after else after
    changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
    gone = dict.fromkeys(key for key in before if key not in after)
    return {**changed, **gone} or None
