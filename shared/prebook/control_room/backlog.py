"""Messages that wait in a queue or in a consumer's hands, by leg, from counters of senders and receivers. Pure.

Several flows share a queue of replies, so the broker's count of a queue says nothing about one of them. A leg's depth
is what was sent minus what was handled, and its oldest message is the one that was sent when the total of sent ones
exceeded what has been handled since: queues are first in, first out.

A killed process loses what it counted since it was last read, and one that hangs does not say it. The difference that
remains is measured once the broker has found the queue empty for a while, and subtracted from then on. While nothing is
sent, no leg is deeper than the broker's count of its queue.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prebook.control_room.figures import EXPIRED_INBOUND
from prebook.rabbit.management import QueueDepth

EMPTY_FOR_S = 10.0
"""Seconds for which the broker must find a queue empty: its statistics are up to five seconds old."""
DONE_FIGURES = ("handled", "duplicate", EXPIRED_INBOUND)
"""Figures of receivers that end a message's stay in its queue."""
MAX_READING_AGE_S = 8.0
"""Seconds after which a reading of the queues says nothing any more."""
STATISTICS_AGE_S = 6.0
"""Seconds after which the broker's statistics contain a message."""
MAX_MARKS = 3600
"""Growths of a total that are remembered: an hour, at one a second."""
Messages = Mapping[str, Mapping[str, int]]
"""Totals of messages by leg and figure, as in the section ``messages``."""


@dataclass(frozen=True)
class QueueLeg:
    """A leg of a flow, or an event for one subscriber, that passes a queue."""

    sent: str
    """Key of the totals of its sender."""
    handled: str
    """Key of the totals of its receiver."""
    queue: str


@dataclass
class _Counts:
    offset: int = 0
    """Messages that seem to wait, and do not."""
    sent: int = -1
    """Total of sent messages as it was read last."""
    sent_at: float = float("-inf")
    """Time at which this total was seen to grow last."""
    differences: deque[tuple[float, int]] = field(default_factory=deque)
    """Times and differences of sent and handled since the queue was found empty."""
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MAX_MARKS))
    """Times at which the total of sent messages grew, with the total from then on."""


class Backlogs:
    """Depth and age of each leg, kept up to date by readings of metrics and of queues."""

    def __init__(self, legs: Mapping[str, QueueLeg]) -> None:
        """``legs`` by the key under which they are shown."""
        self._legs = legs
        self._counts = {name: _Counts() for name in legs}
        self._empty_since: dict[str, float] = {}
        self._totals: dict[str, int] = {}
        self._queues_read_at = float("-inf")

    def note_queues(self, now_s: float, depths: Mapping[str, QueueDepth]) -> None:
        """Take in the broker's own counts by queue; those of the partitions of a message group are summed."""
        if self._are_queues_unknown(now_s):
            self._empty_since.clear()
        self._queues_read_at = now_s
        totals = dict.fromkeys((leg.queue for leg in self._legs.values()), 0)
        for name, depth in depths.items():
            queue = name if name in totals else name.rpartition(".")[0]
            if queue in totals:
                totals[queue] += depth.ready + depth.unacknowledged
        self._totals = totals
        for queue, messages in totals.items():
            if messages:
                self._empty_since.pop(queue, None)
            else:
                self._empty_since.setdefault(queue, now_s)

    def note_messages(self, now_s: float, messages: Messages) -> dict[str, dict[str, Any]]:
        """Take in the totals of all processes; return ``depth`` and ``since_s`` of each leg with waiting messages.

        ``since_s``: time at which the oldest was sent, on the clock of ``now_s``.
        """
        found = {}
        for name, leg in self._legs.items():
            sent = messages.get(leg.sent, {}).get("sent", 0)
            done = sum(messages.get(leg.handled, {}).get(figure, 0) for figure in DONE_FIGURES)
            counts = self._counts[name]
            self._calibrate(counts, leg, now_s, sent - done)
            _mark(counts, now_s, sent)
            depth = sent - done - counts.offset
            if counts.sent_at < self._queues_read_at - STATISTICS_AGE_S and not self._are_queues_unknown(now_s):
                depth = min(depth, self._totals[leg.queue])
            while counts.marks and counts.marks[0][1] <= sent - depth:
                counts.marks.popleft()
            if depth > 0 and counts.marks:
                found[name] = {"depth": depth, "since_s": round(counts.marks[0][0], 1)}
        return found

    def oldest_by_queue(self, found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Return when the oldest message of each queue was sent, given what ``note_messages`` has returned."""
        oldest: dict[str, float] = {}
        for name, backlog in found.items():
            queue = self._legs[name].queue
            oldest[queue] = min(oldest.get(queue, float("inf")), backlog["since_s"])
        return oldest

    def _are_queues_unknown(self, now_s: float) -> bool:
        return now_s - self._queues_read_at > MAX_READING_AGE_S

    def _calibrate(self, counts: _Counts, leg: QueueLeg, now_s: float, difference: int) -> None:
        empty_since = self._empty_since.get(leg.queue)
        if empty_since is None or self._are_queues_unknown(now_s):
            counts.differences.clear()
            return
        counts.differences.append((now_s, difference))
        while counts.differences[0][0] < now_s - EMPTY_FOR_S:
            counts.differences.popleft()
        if now_s - empty_since >= EMPTY_FOR_S:
            counts.offset = min(each for _, each in counts.differences)


def _mark(counts: _Counts, now_s: float, sent: int) -> None:
    if sent > counts.sent:
        counts.marks.append((now_s, sent))
        counts.sent = sent
        counts.sent_at = now_s
