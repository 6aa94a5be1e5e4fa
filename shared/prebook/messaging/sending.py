"""What a relay has taken, on its way out: in order per key, each row until it is noted what became of it."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple, TypeVar

from prebook.messaging.channel import Unreachable
from prebook.messaging.clock import utc_now
from prebook.messaging.failures import spelled
from prebook.messaging.giving_up import refusal
from prebook.messaging.holdings import Holdings, Key
from prebook.messaging.limit import Limit
from prebook.messaging.lines import Lines, Place
from prebook.messaging.marks import Marks
from prebook.messaging.outbox import EXPIRED, UNDELIVERABLE, Claimed, Outbox
from prebook.messaging.telemetry import Watch
from prebook.messaging.unit_of_work import Posting
from prebook.patterns.retry import exponential

BATCH = 200
WINDOW = 1_000
"""Rows of one lane that are claimed, and in flight, at most. What one transaction posts is taken whole."""
ROOM = WINDOW - BATCH
"""No more than so many are in flight when the next are taken: few at a time would cost as much as many."""
DOUBTFUL_S = 20.0
"""Longer than a statement may take."""
SEND_TIMEOUT_S = 15.0
"""Shorter than the lease, longer than a hung broker leader needs to be replaced."""
NOTED_AGAIN_S = (0.1, 0.5, 1.0, 2.0, 4.0)
DRAINED_WITHIN_S = 5.0

Send = Callable[[Claimed], Awaitable[None]]
KEY: Callable[[Claimed | Posting], Key] = attrgetter("lane", "order_key")
R = TypeVar("R", Claimed, Posting)


class Group(NamedTuple):
    """Rows of one key that were taken together. ``begin_by``, of the loop's clock: sending one later could outlast its
    lease. Without rows, a place is only held, and left in its turn.
    """

    place: Place[Key]
    rows: Sequence[Claimed]
    begin_by: float


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
        self._doubtful_until = 0.0

    def doubt(self) -> None:
        """Rows may be ours that we do not know, or may become so while a statement or a commit is still under way."""
        self._doubtful_until = asyncio.get_running_loop().time() + DOUBTFUL_S

    @property
    def in_doubt(self) -> bool:
        return asyncio.get_running_loop().time() < self._doubtful_until

    @property
    def full_lanes(self) -> Collection[str]:
        return [lane for lane, rows in self._in_flight.items() if rows > ROOM]

    def has_room(self, lane: str) -> bool:
        return self._in_flight[lane] <= ROOM

    def take(self, rows: Sequence[Claimed], begin_by: float) -> None:
        """What we have already is ours for longer, and has its place."""
        for key, group in by_key([row for row in rows if not self.holdings.has(KEY(row), row.seq)]).items():
            self.start(Group(self.lines.joined(key), group, begin_by))

    def start(self, group: Group) -> None:
        key = group.place.key
        self._in_flight[key[0]] += len(group.rows)
        self.holdings.add(key, [row.seq for row in group.rows])
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
            key = group.place.key
            self.holdings.drop(key, (row.seq for row in group.rows if row.seq not in self._marks))
            before, after = self._in_flight[key[0]], self._in_flight[key[0]] - len(group.rows)
            self._in_flight[key[0]] = after
            if before > ROOM >= after:
                self._wake()

    async def _in_order(self, group: Group) -> None:
        """One after the other, behind those of earlier claims; what comes after one that waits is put back."""
        clock, untried = asyncio.get_running_loop().time, deque(group.rows)
        async with group.place as place:
            if not group.rows:
                place.go_on = None
                return
            may_go = place.may_go
            while untried and may_go:
                may_go = clock() < group.begin_by and await self._one(untried.popleft(), place.key)
            if untried:
                await _noted(lambda: self._outbox.put_back([row.seq for row in untried]))
                self._wake()
            place.go_on = may_go

    async def _one(self, row: Claimed, key: Key) -> bool:
        """Whether it has left, by one way or another, so that the next of its key may go."""
        if row.envelope.expired(utc_now()):
            await _noted(lambda: self._outbox.give_up(row, EXPIRED, EXPIRED, "nobody waits for it any more"))
            self._watch.expired(row.envelope, "outbox")
            return True
        try:
            with self._limit():
                await self._send(row)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the row waits and is tried again
            return await self._unsent(row, failure)
        self._marks.add(row.seq, key)
        return True

    async def _unsent(self, row: Claimed, failure: Exception) -> bool:
        self._watch.unsent(row.envelope, failure)
        error, pause_s = spelled(failure), _pause(row, failure)
        refused = refusal(failure, self._most_refusals)
        if refused and row.refusals + 1 >= refused.most:
            tried = replace(row, failures=row.failures + 1)
            await _noted(lambda: self._outbox.give_up(tried, UNDELIVERABLE, refused.cause, error))
            return True
        await _noted(lambda: self._outbox.postpone(row, error, pause_s=pause_s, refused=refused is not None))
        return False

    async def drained(self) -> None:
        """Let what is under way end, so that a graceful stop sends nothing twice."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAINED_WITHIN_S)
        if self._marks.left:
            with suppress(TimeoutError):  # then they are sent again by another relay, and absorbed
                async with asyncio.timeout(DRAINED_WITHIN_S):
                    await self._marks.all()


async def _noted(note: Callable[[], Awaitable[None]]) -> None:
    """Tried again for a while, well within the lease: while the database cuts connections or starts again, what is not
    noted would wait for the end of the lease, and be sent a second time. Raises what the last try raised.
    """
    for pause_s in NOTED_AGAIN_S:
        try:
            await note()
        except Exception:  # noqa: BLE001 - whatever it was, the last failure is the caller's
            await asyncio.sleep(pause_s)
        else:
            return
    await note()


def _pause(row: Claimed, failure: Exception) -> float:
    asked = failure.retry_after_s if isinstance(failure, Unreachable) else None
    return asked or exponential(row.failures + 1) * random.uniform(0.5, 1.0)


def by_key(rows: Sequence[R]) -> dict[Key, list[R]]:
    """Each in its order."""
    found: dict[Key, list[R]] = defaultdict(list)
    for row in rows:
        found[KEY(row)].append(row)
    return found
