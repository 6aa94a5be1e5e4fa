"""What a relay has taken, on its way out: in order per key, each row until it is noted what became of it."""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TypeVar

from prebook.messaging.asyncio_tools import CoarseTimeout
from prebook.messaging.clock import utc_now
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.outbox.abandonment import abandon_reason
from prebook.messaging.outbox.keyed_queue import BatchResult, KeyedQueue, Ticket
from prebook.messaging.outbox.leases import Leases, QueueKey
from prebook.messaging.outbox.sent_marker import SentMarker
from prebook.messaging.outbox.store import LeasedRow, Outbox, OutboxState
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.patterns.retry import exponential_backoff_s

WRITE_RETRY_DELAYS_S = (0.1, 0.5, 1.0, 2.0, 4.0)


async def retry_write(write: Callable[[], Awaitable[None]]) -> None:
    """Tried again for a while, well within the lease: while the database cuts connections or starts again, what is not
    noted would wait for the end of the lease, and be sent a second time. Raises what the last try raised.
    """
    for pause_s in WRITE_RETRY_DELAYS_S:
        try:
            await write()
        except Exception:  # noqa: BLE001 - whatever it was, the last failure is the caller's
            await asyncio.sleep(pause_s)
        else:
            return
    await write()


MAX_CLAIMED_ROWS = 200
MAX_IN_FLIGHT = 1_000
"""Rows of one lane that are claimed, and in flight, at most. What one transaction posts is taken whole."""
REFILL_BELOW = MAX_IN_FLIGHT - MAX_CLAIMED_ROWS
"""No more than so many are in flight when the next are taken: few at a time would cost as much as many."""
UNCERTAIN_FOR_S, RESYNC_INTERVAL_S = 20.0, 0.5
"""Longer than a statement may take; and seldom, for it looks at all that waits."""
SEND_TIMEOUT_S = 15.0
"""Shorter than the lease, longer than a hung broker leader needs to be replaced."""
DRAIN_TIMEOUT_S = 5.0

SendRow = Callable[[LeasedRow], Awaitable[None]]
QUEUE_KEY: Callable[[LeasedRow | OutboxMessage], QueueKey] = attrgetter("route", "ordering_key")
R = TypeVar("R", LeasedRow, OutboxMessage)


@dataclass(slots=True)
class Batch:
    """Rows of one key that were enqueued together; without rows, a ticket that is only waited for and left.

    ``send_before``: time of the loop's clock; a row that is sent later could outlast its lease.
    """

    ticket: Ticket[QueueKey]
    rows: Sequence[LeasedRow]
    send_before: float
    leased_seqs: Sequence[int] = field(init=False)
    """Of its rows, by number: those that are its own still."""

    def __post_init__(self) -> None:
        self.leased_seqs = [row.seq for row in self.rows]


class Sender:
    """``wake`` is called when there may be something to claim again: a lane has room, or rows were put back."""

    def __init__(
        self, outbox: Outbox, observer: MessagingObserver, max_refusals: int, *, wake: Callable[[], None]
    ) -> None:
        self.dispatch: SendRow | None = None
        """Sends one row; set by the relay before the first batch is started."""
        self._outbox = outbox
        self._observer = observer
        self._max_refusals = max_refusals
        self._wake = wake
        self._in_flight: Counter[str] = Counter()
        self.leases = Leases()
        self.queue = KeyedQueue[QueueKey]()
        self._sent_marker = SentMarker(outbox.mark_sent, self.leases)
        self._timeout = CoarseTimeout(SEND_TIMEOUT_S)
        self._tasks: set[asyncio.Task[None]] = set()
        self._uncertain_until = self._next_resync_at = 0.0

    def mark_uncertain(self) -> None:
        """Rows may be ours that we do not know, or may become so while a statement or a commit is still under way."""
        self._next_resync_at = asyncio.get_running_loop().time()
        self._uncertain_until = self._next_resync_at + UNCERTAIN_FOR_S

    def resync_due(self) -> bool:
        """Whether what we do not know is to be let go now: in doubt, and not at every turn."""
        now = asyncio.get_running_loop().time()
        if not self._next_resync_at <= now < self._uncertain_until:
            return False
        self._next_resync_at = now + RESYNC_INTERVAL_S
        return True

    @property
    def full_routes(self) -> Collection[str]:
        return [lane for lane, rows in self._in_flight.items() if rows > REFILL_BELOW]

    def has_capacity(self, route: str) -> bool:
        return self._in_flight[route] <= REFILL_BELOW

    def enqueue(self, rows: Sequence[LeasedRow], send_before: float) -> None:
        """What stands in line already, and was claimed again, is ours for longer."""
        for key, group in group_by_key(
            [row for row in rows if not self.leases.contains(QUEUE_KEY(row), row.seq)]
        ).items():
            self.start_batch(Batch(self.queue.enqueue(key), group, send_before))

    def start_batch(self, batch: Batch) -> None:
        key = batch.ticket.key
        self._in_flight[key[0]] += len(batch.rows)
        self.leases.add(key, batch.leased_seqs)
        task = asyncio.create_task(self._send_batch(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_batch(self, batch: Batch) -> None:
        try:
            await self._send_in_order(batch)
        except BaseException as error:  # whatever it is: not even the failure could be noted
            self.mark_uncertain()  # first, for what tells of it may fail as well
            if not isinstance(error, Exception):
                raise
            if batch.rows:
                self._observer.on_send_failed(batch.rows[0].envelope, error)
        finally:
            self._drop_leases(batch)
            lane = batch.ticket.key[0]
            before, after = self._in_flight[lane], self._in_flight[lane] - len(batch.rows)
            self._in_flight[lane] = after
            if before > REFILL_BELOW >= after:
                self._wake()

    async def _send_in_order(self, batch: Batch) -> None:
        """One after the other, behind those of earlier claims; what comes after one that waits is put back."""
        clock, untried, failure = asyncio.get_running_loop().time, deque(batch.rows), None
        async with batch.ticket as place:
            if not batch.rows:
                place.result = BatchResult.EMPTY
                return
            while untried and place.may_send and clock() < batch.send_before:
                failure = await self._send_row(untried[0], place.key)
                if failure is not None:
                    break
                untried.popleft()
            place.result = BatchResult.FAILED if untried else BatchResult.SENT
            if untried:
                place.block()
                self._drop_leases(batch)  # before anybody can take it again, and find that we have it
                await self._release_unsent(untried, failure)

    async def _release_unsent(self, unsent: deque[LeasedRow], failure: Exception | None) -> None:
        if failure is not None:
            await self._reschedule(unsent.popleft(), failure)
        if unsent:
            await retry_write(lambda: self._outbox.release([row.seq for row in unsent]))
            self._wake()

    def _drop_leases(self, batch: Batch) -> None:
        """Once: another group may have them by the time that this one ends. What was sent is the marks' to release."""
        self.leases.remove(batch.ticket.key, [seq for seq in batch.leased_seqs if seq not in self._sent_marker])
        batch.leased_seqs = ()

    async def _send_row(self, row: LeasedRow, key: QueueKey) -> Exception | None:
        """None where it has left, by one way or another, so that the next of its key may go."""
        if row.envelope.is_expired(utc_now()):
            await retry_write(
                lambda: self._outbox.abandon(row, OutboxState.EXPIRED, "expired", "nobody waits for it any more")
            )
            self._observer.on_expired(row.envelope, "outbox")
            return None
        assert self.dispatch is not None  # noqa: S101 - batches are started by a running relay only
        try:
            with self._timeout():
                await self.dispatch(row)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the row waits and is tried again
            return await self._handle_failure(row, failure)
        self._sent_marker.add(row.seq, key)
        return None

    async def _handle_failure(self, row: LeasedRow, failure: Exception) -> Exception | None:
        """None where it is given up: it holds back nobody."""
        self._observer.on_send_failed(row.envelope, failure)
        refused = abandon_reason(failure, self._max_refusals)
        if refused is None or row.refusals + 1 < refused.max_in_a_row:
            return failure
        tried = replace(row, failures=row.failures + 1)
        await retry_write(
            lambda: self._outbox.abandon(tried, OutboxState.UNDELIVERABLE, refused.cause, error_summary(failure))
        )
        return None

    async def _reschedule(self, row: LeasedRow, failure: Exception) -> None:
        error, pause_s, refused = (
            error_summary(failure),
            _retry_delay_s(row, failure),
            abandon_reason(failure, self._max_refusals),
        )
        await retry_write(lambda: self._outbox.reschedule(row, error, delay_s=pause_s, refused=refused is not None))

    async def drain(self) -> None:
        """Let what is under way end, so that a graceful stop sends nothing twice."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DRAIN_TIMEOUT_S)
        if self._sent_marker.unmarked:
            with suppress(TimeoutError):  # then they are sent again by another relay, and absorbed
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    await self._sent_marker.flush()


def _retry_delay_s(row: LeasedRow, failure: Exception) -> float:
    asked = failure.retry_after_s if isinstance(failure, Unreachable) else None
    return asked or exponential_backoff_s(row.failures + 1) * random.uniform(0.5, 1.0)


def group_by_key(rows: Sequence[R]) -> dict[QueueKey, list[R]]:
    """Each in its order."""
    found: dict[QueueKey, list[R]] = defaultdict(list)
    for row in rows:
        found[QUEUE_KEY(row)].append(row)
    return found
