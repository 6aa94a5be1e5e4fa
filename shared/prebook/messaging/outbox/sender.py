"""Sender: sends leased rows in order per key, and records the outcome of each row in the outbox.

States, transitions and invariants: docs/architecture/outbox-and-relay.md.
"""

import asyncio
import random
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TypeVar

from prebook.asyncio_tools import CoarseTimeout, OwnedTasks
from prebook.messaging.clock import utc_now
from prebook.messaging.crash_points import CrashPoint, reach
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.observer import MessagingObserver
from prebook.messaging.outbox.abandonment import EXPIRED, abandon_reason
from prebook.messaging.outbox.keyed_queue import BatchResult, KeyedQueue, Ticket
from prebook.messaging.outbox.leases import Leases, QueueKey
from prebook.messaging.outbox.sent_marker import SentMarker
from prebook.messaging.outbox.store import LOCAL_ROUTE, HandleAgain, LeasedRow, Outbox, OutboxState
from prebook.messaging.recoverability.isolation import Isolation
from prebook.messaging.recoverability.starts import count_starts, with_start, without_starts
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.patterns.retry import exponential_backoff_s, outage_backoff_s

MAX_CLAIMED_ROWS = 200
"""Maximum number of rows that one claim leases."""
MAX_IN_FLIGHT = 1_000
"""Maximum number of rows of one route in flight, apart from those of one transaction, which are handed off together."""
REFILL_BELOW = MAX_IN_FLIGHT - MAX_CLAIMED_ROWS
"""Rows in flight up to which a route takes more: a claim of few rows costs as much as a claim of many."""
UNCERTAIN_FOR_S = 20.0
"""Seconds for which unknown leases may appear after a failure: longer than any statement may take."""
RESYNC_INTERVAL_S = 0.5
"""Seconds between two releases of untracked leases, whose statement reads all waiting rows."""
SEND_TIMEOUT_S = 15.0
"""Seconds that sending one row may take: shorter than the lease, longer than the failover of a hung queue leader."""
DRAIN_TIMEOUT_S = 5.0
"""Seconds that a stopping relay waits for batches in flight, and again for marks; what takes longer is cancelled."""
WRITE_RETRY_DELAYS_S = (0.1, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each repetition of a failed write to the outbox; the sum stays well below the lease."""

SendRow = Callable[[LeasedRow], Awaitable[None]]
QUEUE_KEY: Callable[[LeasedRow | OutboxMessage], QueueKey] = attrgetter("route", "ordering_key")
R = TypeVar("R", LeasedRow, OutboxMessage)


async def retry_write(write: Callable[[], Awaitable[None]]) -> None:
    """Write the outcome of a row, and repeat a failed write after ``WRITE_RETRY_DELAYS_S``.

    An outcome that is not recorded keeps the row leased until the lease ends, and the row is sent a second time.
    Raises what the last attempt raised.
    """
    for delay_s in WRITE_RETRY_DELAYS_S:
        try:
            await write()
        except Exception:  # noqa: BLE001 - the last failure, whatever it is, reaches the caller
            await asyncio.sleep(delay_s)
        else:
            return
    await write()


@dataclass(slots=True)
class Batch:
    """Rows of one key that were enqueued together.

    A batch without rows holds a place in the queue only: its transaction leased none.
    """

    ticket: Ticket[QueueKey]
    rows: Sequence[LeasedRow]
    send_before: float
    """Loop time; sending a row later than this could outlast its lease."""
    leased_seqs: Sequence[int] = field(init=False)
    """Sequence numbers of the rows whose leases this batch still has to end."""

    def __post_init__(self) -> None:
        self.leased_seqs = [row.seq for row in self.rows]


class Sender:
    """Sends batches concurrently across keys and strictly in order within a key."""

    def __init__(
        self, outbox: Outbox, observer: MessagingObserver, max_refusals: int, *, wake: Callable[[], None]
    ) -> None:
        """``wake`` is called when rows may be claimable again: a route has capacity, or rows were released."""
        self._dispatch: SendRow | None = None
        self._outbox = outbox
        self._observer = observer
        self._max_refusals = max_refusals
        self._wake = wake
        self._in_flight: Counter[str] = Counter()
        self.leases = Leases()
        """Rows that this relay owns."""
        self.queue = KeyedQueue[QueueKey]()
        """Batches that wait for earlier batches of their key."""
        self._sent_marker = SentMarker(outbox.mark_sent, self.leases)
        self._timeout = CoarseTimeout(SEND_TIMEOUT_S)
        self._batches = OwnedTasks()
        self._isolation = Isolation()
        self._uncertain_until = 0.0
        self._next_resync_at = 0.0

    def start(self, dispatch: SendRow) -> None:
        """Start to send rows by ``dispatch``, and to mark those that were sent."""
        self._dispatch = dispatch
        self._sent_marker.start()

    def mark_uncertain(self) -> None:
        """Expect untracked leases of this relay for the next ``UNCERTAIN_FOR_S`` seconds.

        A claim or commit whose result was lost may have leased rows, or may still do so.
        """
        self._next_resync_at = asyncio.get_running_loop().time()
        self._uncertain_until = self._next_resync_at + UNCERTAIN_FOR_S

    def resync_due(self) -> bool:
        """Return whether untracked leases are to be released in this scan, at most every ``RESYNC_INTERVAL_S``."""
        now = asyncio.get_running_loop().time()
        if not self._next_resync_at <= now < self._uncertain_until:
            return False
        self._next_resync_at = now + RESYNC_INTERVAL_S
        return True

    @property
    def full_routes(self) -> Collection[str]:
        """Routes with too many rows in flight to take more."""
        return [route for route, rows in self._in_flight.items() if rows > REFILL_BELOW]

    def has_capacity(self, route: str) -> bool:
        """Return whether the route takes more rows."""
        return self._in_flight[route] <= REFILL_BELOW

    def enqueue(self, rows: Sequence[LeasedRow], send_before: float) -> None:
        """Start one batch per key; rows that are tracked already are skipped, since a claim only renewed their lease.

        ``send_before``: loop time until which the rows may be sent.
        """
        untracked = [row for row in rows if not self.leases.contains(QUEUE_KEY(row), row.seq)]
        for key, group in group_by_key(untracked).items():
            self.start_batch(Batch(self.queue.enqueue(key), group, send_before))

    def start_batch(self, batch: Batch) -> None:
        """Track the leases of a batch and send its rows in a separate task. Returns at once.

        After ``stop`` (a transaction that had begun before has ended), the rows stay untracked, and the next scan
        releases them.
        """
        if self._dispatch is None:
            batch.ticket.leave()
            return
        key = batch.ticket.key
        self._in_flight[key[0]] += len(batch.rows)
        self.leases.add(key, batch.leased_seqs)
        self._batches.start(self._send_batch(batch))

    async def _send_batch(self, batch: Batch) -> None:
        try:
            await self._send_in_order(batch)
        except BaseException as error:  # the outcome of a row could not be recorded
            self.mark_uncertain()  # first, since the observer could raise as well
            if not isinstance(error, Exception):
                raise
            if batch.rows:
                self._observer.on_send_failed(batch.rows[0].envelope, error)
        finally:
            self._drop_leases(batch)
            route = batch.ticket.key[0]
            before = self._in_flight[route]
            after = before - len(batch.rows)
            self._in_flight[route] = after
            if before > REFILL_BELOW >= after:
                self._wake()

    async def _send_in_order(self, batch: Batch) -> None:
        """Send the rows one by one after all earlier batches of the key; a failure releases the rows after it."""
        clock = asyncio.get_running_loop().time
        unsent = deque(batch.rows)
        failure = None
        async with batch.ticket as ticket:
            if not batch.rows:
                ticket.result = BatchResult.EMPTY
                return
            # A batch that outlives ``stop``, because a client library swallowed its cancellation, releases its rows.
            while unsent and ticket.may_send and clock() < batch.send_before and (dispatch := self._dispatch):
                failure = await self._send_row(dispatch, unsent[0], ticket.key)
                if failure is not None:
                    break
                unsent.popleft()
            ticket.result = BatchResult.FAILED if unsent else BatchResult.SENT
            if unsent:
                ticket.block()
                # The leases end before the rows are due again: a claim that still found them tracked would skip them.
                self._drop_leases(batch)
                await self._release_unsent(unsent, failure)

    async def _release_unsent(self, unsent: deque[LeasedRow], failure: Exception | None) -> None:
        if failure is not None:
            await self._reschedule(unsent.popleft(), failure)
        if unsent:
            await retry_write(lambda: self._outbox.release([row.seq for row in unsent]))
            self._wake()

    def _drop_leases(self, batch: Batch) -> None:
        """End the leases of a batch once: a second time, the same rows may be leased to another batch.

        The sent marker ends the leases of rows that were sent.
        """
        self.leases.remove(batch.ticket.key, [seq for seq in batch.leased_seqs if seq not in self._sent_marker])
        batch.leased_seqs = ()

    async def _send_row(self, dispatch: SendRow, row: LeasedRow, key: QueueKey) -> Exception | None:
        """Send or abandon a row. Returns None if the next row of the key may follow, otherwise the failure."""
        if row.envelope.is_expired(utc_now()) and not _has_failed_here(row):
            await retry_write(
                lambda: self._outbox.abandon(
                    row, OutboxState.EXPIRED, EXPIRED, "the message expired before it was sent"
                )
            )
            self._observer.on_expired(row.envelope, "outbox")
            return None
        reach(CrashPoint.BEFORE_SEND)
        try:
            if row.route == LOCAL_ROUTE:
                await self._dispatch_local(dispatch, row)
            else:
                with self._timeout():
                    await dispatch(row)
        except Exception as failure:  # noqa: BLE001 - any failure reschedules the row
            return await self._handle_failure(row, failure)
        reach(CrashPoint.AFTER_SEND)
        self._sent_marker.add(row.seq, key)
        return None

    async def _dispatch_local(self, dispatch: SendRow, row: LeasedRow) -> None:
        """Have a row of the local route handled; what may have ended a process before is counted, and handled alone."""
        starts = count_starts(row.envelope)
        await self._isolation.begin(starts)
        try:
            if row.is_claimed:
                row = replace(row, envelope=with_start(row.envelope))
                await self._outbox.record_start(row, row.envelope)
            with self._timeout():
                await dispatch(row)
            if starts:  # marked before the next one, which may end the process, is handled
                await retry_write(lambda: self._outbox.mark_sent([row.seq]))
        finally:
            self._isolation.end(starts)

    async def _handle_failure(self, row: LeasedRow, failure: Exception) -> Exception | None:
        """Abandon a row that was refused too often. Returns None if it was, otherwise the failure."""
        if isinstance(failure, HandleAgain):
            return failure
        self._observer.on_send_failed(row.envelope, failure)
        reason = abandon_reason(failure, self._max_refusals)
        if reason is None or row.refusals + 1 < reason.max_consecutive:
            return failure
        failed = replace(row, failures=row.failures + 1)
        await retry_write(
            lambda: self._outbox.abandon(failed, OutboxState.UNDELIVERABLE, reason.cause, error_summary(failure))
        )
        return None

    async def _reschedule(self, row: LeasedRow, failure: Exception) -> None:
        if isinstance(failure, HandleAgain):
            again = failure
            return await retry_write(
                lambda: self._outbox.reschedule(
                    row, str(again), delay_s=again.delay_s, refused=False, message=again.next_attempt
                )
            )
        error = error_summary(failure)
        delay_s = _retry_delay_s(row, failure)
        refused = abandon_reason(failure, self._max_refusals) is not None
        # A failure is an outcome, so the starts before it count no more: an outage must not use them up.
        message = without_starts(row.envelope) if row.route == LOCAL_ROUTE and row.is_claimed else None
        return await retry_write(
            lambda: self._outbox.reschedule(row, error, delay_s=delay_s, refused=refused, message=message)
        )

    async def stop(self) -> None:
        """Wait for batches in flight and mark what was sent, so that a graceful stop sends no row twice.

        Gives up after ``DRAIN_TIMEOUT_S`` each, and leaves neither a task nor a timer behind; then the rows are sent
        again, by another relay or after a restart of this one, and receivers discard the duplicates.
        """
        await self._batches.wait(DRAIN_TIMEOUT_S)
        self._dispatch = None
        await self._batches.cancel()
        self._timeout.stop()
        await self._sent_marker.stop(DRAIN_TIMEOUT_S)


def _has_failed_here(row: LeasedRow) -> bool:
    """Return whether this service has tried the message before: it is then dead-lettered, and not dropped."""
    return row.route == LOCAL_ROUTE and row.envelope.attempt > 1


def _retry_delay_s(row: LeasedRow, failure: Exception) -> float:
    """Return the delay that the receiver asked for, or a random one of the exponential backoff.

    A requested delay takes at most half of the time that the message has left, so that another attempt remains.
    """
    longest_s = exponential_backoff_s if abandon_reason(failure) else outage_backoff_s
    backoff_s = longest_s(row.failures + 1) * random.uniform(0.5, 1.0)
    requested_s = failure.retry_after_s if isinstance(failure, Unreachable) else None
    if not requested_s:
        return backoff_s
    expires_at = row.envelope.expires_at
    if expires_at is None:
        return requested_s
    return min(requested_s, max(backoff_s, (expires_at - utc_now()).total_seconds() / 2))


def group_by_key(rows: Sequence[R]) -> dict[QueueKey, list[R]]:
    """Return the rows by queue key, in their given order."""
    groups: dict[QueueKey, list[R]] = defaultdict(list)
    for row in rows:
        groups[QUEUE_KEY(row)].append(row)
    return groups
