"""Message relay: sends what the outbox holds, as soon as it is committed, many rows at a time, in order per key.

At least once: a crash between handing over and marking sends again, and the receiver's inbox absorbs it.
"""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from prebook.messaging.channel import Unreachable
from prebook.messaging.clock import utc_now
from prebook.messaging.failures import spelled
from prebook.messaging.giving_up import MOST_REFUSALS, refusal
from prebook.messaging.limit import LOOK_EVERY_S, Limit
from prebook.messaging.lines import Lines, Place
from prebook.messaging.marks import Marks
from prebook.messaging.outbox import EXPIRED, UNDELIVERABLE, Claimed, Outbox
from prebook.messaging.telemetry import Watch
from prebook.patterns.retry import exponential

BATCH = 200
WINDOW = 1_000
"""Rows of one lane in flight at most."""
ROOM = WINDOW - BATCH
"""No more than so many are in flight when the next are claimed: few at a time would cost as much as many."""
LEASE_S = 30.0
SEND_TIMEOUT_S = 15.0
"""Shorter than the lease, longer than a hung broker leader needs to be replaced."""
NOTED_AGAIN_S = (0.1, 0.5, 1.0, 2.0, 4.0)
DRAINED_WITHIN_S = 5.0
POLL_S = 0.5
"""The safety net: a wake-up can be lost, a row cannot."""

Send = Callable[[Claimed], Awaitable[None]]
LANE, ORDER_KEY = attrgetter("lane"), attrgetter("order_key")


class Group(NamedTuple):
    """Rows of one claim and order key. ``begin_by``, of the loop's clock: sending one later could outlast its lease."""

    place: Place
    rows: Sequence[Claimed]
    begin_by: float


class Relay:
    """Runs until cancelled. ``wake`` tells it that rows were committed."""

    def __init__(self, outbox: Outbox, send: Send, watch: Watch, *, most_refusals: int = MOST_REFUSALS) -> None:
        self._outbox, self._send, self._watch, self._most_refusals = outbox, send, watch, most_refusals
        self._in_flight: Counter[str] = Counter()
        self._held: set[int] = set()
        self._marks, self._lines, self._limit = Marks(outbox.sent), Lines(), Limit(SEND_TIMEOUT_S)
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken, self._full, self._astray = asyncio.Event(), False, False

    @property
    def behind(self) -> bool:
        """There was more to send than one claim, or one lane, takes: another relay of the service could help."""
        return self._full or any(rows > ROOM for rows in self._in_flight.values())

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        self._astray = True
        try:
            while True:
                await self._turn()
        finally:
            await self._drain()

    async def _turn(self) -> None:
        self._woken.clear()
        full = [lane for lane, rows in self._in_flight.items() if rows > ROOM]
        self._lines.look()  # before anything is waited for: what stops meanwhile may be spared below
        if self._astray:  # rows may be ours that we do not know: they hold back nobody, and must come first again
            self._astray = False
            await self._outbox.let_go({*self._held, *self._marks.left})
        begin_by = asyncio.get_running_loop().time() + LEASE_S - SEND_TIMEOUT_S - LOOK_EVERY_S
        claimed = await self._outbox.claim(BATCH, lease_s=LEASE_S, full_lanes=full)
        for lane, rows in _by(LANE, claimed).items():
            self._start(lane, rows, begin_by)
        self._full = len(claimed) == BATCH
        if not self._full:
            await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(POLL_S * random.uniform(0.8, 1.2)):
                await self._woken.wait()
        except TimeoutError:
            return

    def _start(self, lane: str, rows: Sequence[Claimed], begin_by: float) -> None:
        self._in_flight[lane] += len(rows)
        self._held.update(row.seq for row in rows)
        for key, group in _by(ORDER_KEY, rows).items():
            task = asyncio.create_task(self._sent(lane, Group(self._lines.joined((lane, key)), group, begin_by)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _sent(self, lane: str, group: Group) -> None:
        try:
            await self._in_order(group)
        except BaseException as error:  # whatever it is: not even the failure could be noted
            self._astray = True  # first, for what tells of it may fail as well
            if not isinstance(error, Exception):
                raise
            self._watch.unsent(group.rows[0].envelope, error)
        finally:
            self._held.difference_update(row.seq for row in group.rows)
            before, after = self._in_flight[lane], self._in_flight[lane] - len(group.rows)
            self._in_flight[lane] = after
            if before > ROOM >= after:
                self._woken.set()

    async def _in_order(self, group: Group) -> None:
        """One after the other, behind those of earlier claims; what comes after one that waits is put back."""
        clock, untried = asyncio.get_running_loop().time, deque(group.rows)
        async with group.place as place:
            may_go = place.may_go
            while untried and may_go:
                may_go = clock() < group.begin_by and await self._one(untried.popleft())
            if untried:
                await _noted(lambda: self._outbox.put_back([row.seq for row in untried]))
            place.go_on = may_go

    async def _one(self, row: Claimed) -> bool:
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
        self._marks.add(row.seq)
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

    async def _drain(self) -> None:
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


def _by(what: Callable[[Claimed], str], rows: Sequence[Claimed]) -> dict[str, list[Claimed]]:
    """Each in its order."""
    found: dict[str, list[Claimed]] = defaultdict(list)
    for row in rows:
        found[what(row)].append(row)
    return found
