"""What a relay has taken, on its way out: in order per key, each row until it is noted what became of it."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TypeVar

from prebook.messaging.asyncio_tools import Limit
from prebook.messaging.channel import Unreachable
from prebook.messaging.clock import utc_now
from prebook.messaging.errors import spelled
from prebook.messaging.observer import Watch
from prebook.messaging.outbox.abandonment import refusal
from prebook.messaging.outbox.keyed_queue import Lines, Place
from prebook.messaging.outbox.leases import Holdings, Key
from prebook.messaging.outbox.sent_marker import Marks
from prebook.messaging.outbox.store import EXPIRED, UNDELIVERABLE, Claimed, Outbox
from prebook.messaging.unit_of_work import Posting
from prebook.patterns.retry import exponential

AGAIN_S = (0.1, 0.5, 1.0, 2.0, 4.0)


async def noted(note: Callable[[], Awaitable[None]]) -> None:
    """Tried again for a while, well within the lease: while the database cuts connections or starts again, what is not
    noted would wait for the end of the lease, and be sent a second time. Raises what the last try raised.
    """
    for pause_s in AGAIN_S:
        try:
            await note()
        except Exception:  # noqa: BLE001 - whatever it was, the last failure is the caller's
            await asyncio.sleep(pause_s)
        else:
            return
    await note()


BATCH = 200
WINDOW = 1_000
"""Rows of one lane that are claimed, and in flight, at most. What one transaction posts is taken whole."""
ROOM = WINDOW - BATCH
"""No more than so many are in flight when the next are taken: few at a time would cost as much as many."""
DOUBTFUL_S, DOUBTS_EVERY_S = 20.0, 0.5
"""Longer than a statement may take; and seldom, for it looks at all that waits."""
SEND_TIMEOUT_S = 15.0
"""Shorter than the lease, longer than a hung broker leader needs to be replaced."""
DRAINED_WITHIN_S = 5.0

Send = Callable[[Claimed], Awaitable[None]]
KEY: Callable[[Claimed | Posting], Key] = attrgetter("lane", "order_key")
R = TypeVar("R", Claimed, Posting)


@dataclass(slots=True)
class Group:
    """Rows of one key that were taken together. ``begin_by``, of the loop's clock: sending one later could outlast its
    lease. Without rows, a place is only held, and left in its turn.
    """

    place: Place[Key]
    rows: Sequence[Claimed]
    begin_by: float
    held: Sequence[int] = field(init=False)
    """Of its rows, by number: those that are its own still."""

    def __post_init__(self) -> None:
        self.held = [row.seq for row in self.rows]


class Sending:
    """``wake`` is called when there may be something to claim again: a lane has room, or rows were put back."""

    def __init__(
        self, outbox: Outbox, send: Send, watch: Watch, most_refusals: int, *, wake: Callable[[], None]
    ) -> None:
        self._outbox, self._send, self._watch, self._most_refusals = outbox, send, watch, most_refusals
        self._wake = wake
        self._in_flight: Counter[str] = Counter()
        self.holdings = Holdings()
        self._marks, self.lines, self._limit = Marks(outbox.sent, self.holdings), Lines[Key](), Limit(SEND_TIMEOUT_S)
        self._tasks: set[asyncio.Task[None]] = set()
        self._doubtful_until = self._doubts_at = 0.0

    def doubt(self) -> None:
        """Rows may be ours that we do not know, or may become so while a statement or a commit is still under way."""
        self._doubts_at = asyncio.get_running_loop().time()
        self._doubtful_until = self._doubts_at + DOUBTFUL_S

    def doubts(self) -> bool:
        """Whether what we do not know is to be let go now: in doubt, and not at every turn."""
        now = asyncio.get_running_loop().time()
        if not self._doubts_at <= now < self._doubtful_until:
            return False
        self._doubts_at = now + DOUBTS_EVERY_S
        return True

    @property
    def full_lanes(self) -> Collection[str]:
        return [lane for lane, rows in self._in_flight.items() if rows > ROOM]

    def has_room(self, lane: str) -> bool:
        return self._in_flight[lane] <= ROOM

    def take(self, rows: Sequence[Claimed], begin_by: float) -> None:
        """What stands in line already, and was claimed again, is ours for longer."""
        for key, group in by_key([row for row in rows if not self.holdings.has(KEY(row), row.seq)]).items():
            self.start(Group(self.lines.joined(key), group, begin_by))

    def start(self, group: Group) -> None:
        key = group.place.key
        self._in_flight[key[0]] += len(group.rows)
        self.holdings.add(key, group.held)
        task = asyncio.create_task(self._sent(group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _sent(self, group: Group) -> None:
        try:
            await self._in_order(group)
        except BaseException as error:  # whatever it is: not even the failure could be noted
            self.doubt()  # first, for what tells of it may fail as well
            if not isinstance(error, Exception):
                raise
            if group.rows:
                self._watch.unsent(group.rows[0].envelope, error)
        finally:
            self._release(group)
            lane = group.place.key[0]
            before, after = self._in_flight[lane], self._in_flight[lane] - len(group.rows)
            self._in_flight[lane] = after
            if before > ROOM >= after:
                self._wake()

    async def _in_order(self, group: Group) -> None:
        """One after the other, behind those of earlier claims; what comes after one that waits is put back."""
        clock, untried, failure = asyncio.get_running_loop().time, deque(group.rows), None
        async with group.place as place:
            if not group.rows:
                place.go_on = None
                return
            while untried and place.may_go and clock() < group.begin_by:
                failure = await self._one(untried[0], place.key)
                if failure is not None:
                    break
                untried.popleft()
            place.go_on = not untried
            if untried:
                place.stop()
                self._release(group)  # before anybody can take it again, and find that we have it
                await self._stepped_back(untried, failure)

    async def _stepped_back(self, untried: deque[Claimed], failure: Exception | None) -> None:
        if failure is not None:
            await self._postponed(untried.popleft(), failure)
        if untried:
            await noted(lambda: self._outbox.put_back([row.seq for row in untried]))
            self._wake()

    def _release(self, group: Group) -> None:
        """Once: another group may have them by the time that this one ends. What was sent is the marks' to release."""
        self.holdings.drop(group.place.key, [seq for seq in group.held if seq not in self._marks])
        group.held = ()

    async def _one(self, row: Claimed, key: Key) -> Exception | None:
        """None where it has left, by one way or another, so that the next of its key may go."""
        if row.envelope.expired(utc_now()):
            await noted(lambda: self._outbox.give_up(row, EXPIRED, EXPIRED, "nobody waits for it any more"))
            self._watch.expired(row.envelope, "outbox")
            return None
        try:
            with self._limit():
                await self._send(row)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the row waits and is tried again
            return await self._unsent(row, failure)
        self._marks.add(row.seq, key)
        return None

    async def _unsent(self, row: Claimed, failure: Exception) -> Exception | None:
        """None where it is given up: it holds back nobody."""
        self._watch.unsent(row.envelope, failure)
        refused = refusal(failure, self._most_refusals)
        if refused is None or row.refusals + 1 < refused.most:
            return failure
        tried = replace(row, failures=row.failures + 1)
        await noted(lambda: self._outbox.give_up(tried, UNDELIVERABLE, refused.cause, spelled(failure)))
        return None

    async def _postponed(self, row: Claimed, failure: Exception) -> None:
        error, pause_s, refused = spelled(failure), _pause(row, failure), refusal(failure, self._most_refusals)
        await noted(lambda: self._outbox.postpone(row, error, pause_s=pause_s, refused=refused is not None))

    async def drained(self) -> None:
        """Let what is under way end, so that a graceful stop sends nothing twice."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAINED_WITHIN_S)
        if self._marks.left:
            with suppress(TimeoutError):  # then they are sent again by another relay, and absorbed
                async with asyncio.timeout(DRAINED_WITHIN_S):
                    await self._marks.all()


def _pause(row: Claimed, failure: Exception) -> float:
    asked = failure.retry_after_s if isinstance(failure, Unreachable) else None
    return asked or exponential(row.failures + 1) * random.uniform(0.5, 1.0)


def by_key(rows: Sequence[R]) -> dict[Key, list[R]]:
    """Each in its order."""
    found: dict[Key, list[R]] = defaultdict(list)
    for row in rows:
        found[KEY(row)].append(row)
    return found
