"""Transaction batcher: several messages share one transaction, so that the cost of a commit is shared under load.

A message starts a transaction at once if none is running. Otherwise it waits until the running one ends, a full batch
is waiting, or ``MAX_WAIT_S`` have passed; the higher the load, the larger the batches. If a handler of a batch raises,
the transaction is rolled back and each message is retried in its own, so that a poison message costs the others one
retry. States, transitions and invariants: docs/architecture/inbox-and-transaction-batching.md.

Source: group commit; EIP, Idempotent Receiver (``UnitOfWork.record_messages``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from prebook.asyncio_tools import OwnedTasks
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import TransactionConflict, Unreachable, error_summary
from prebook.messaging.policy import DEFAULT_MAX_BATCH_SIZE, Policies
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitOfWork
from prebook.patterns.batch_selection import BatchCandidate, select_batch

MAX_CONCURRENT_TRANSACTIONS = 4
"""Maximum number of concurrent transactions."""
MAX_WAIT_S = 0.02
"""Seconds that a message waits for running transactions. A longer one waits for a lock or a slow database, and later
messages start another."""
MAX_SUSPECTS = 10_000
"""Messages remembered as possible causes of an outage; further ones take the place of the oldest."""
MAX_CONFLICTS = 3
"""Number of times that a message is repeated at once after its transaction conflicted with another one."""
U = TypeVar("U", bound=UnitOfWork)
T = TypeVar("T")
MessageEffect = Callable[[U, bool], Awaitable[T]]
"""Effect of a message, given the unit of work and whether the inbox had not recorded the message before."""
log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class PendingMessage(Generic[U]):
    """A message that waits for its transaction, and the future of its result."""

    envelope: Envelope
    effect: MessageEffect[U, Any]
    candidate: BatchCandidate
    result: asyncio.Future[Any]

    def set_result(self, result: Any) -> None:
        """Complete the future, unless its caller was cancelled."""
        if not self.result.done():
            self.result.set_result(result)

    def set_error(self, error: BaseException) -> None:
        """Fail the future, unless its caller was cancelled."""
        if not self.result.done():
            self.result.set_exception(error)

    conflicts: int = 0
    """Number of transactions of this message that were rolled back in favour of others."""

    def isolated(self, *, conflicts: int = 0) -> "PendingMessage[U]":
        """Return a copy that shares its transaction with no other message."""
        return PendingMessage(self.envelope, self.effect, BatchCandidate(self.candidate.key, 1), self.result, conflicts)


class TransactionBatcher(Generic[U]):
    """Records messages in the inbox, runs their effects and commits, several messages in one transaction."""

    def __init__(
        self, begin: BeginUnitOfWork[U], policies: Policies, *, max_concurrent: int = MAX_CONCURRENT_TRANSACTIONS
    ) -> None:
        self._begin = begin
        self._policies = policies
        self._max_concurrent = max_concurrent
        self._waiting: list[PendingMessage[U]] = []
        self._busy_keys: set[str] = set()
        self._suspects: dict[str, None] = {}
        self._running = OwnedTasks()
        self._start_scheduled = False
        self._late_start: asyncio.TimerHandle | None = None

    async def run(self, envelope: Envelope, effect: MessageEffect[U, T], *, shared: bool = True) -> T:
        """Run ``effect`` in a transaction and return its result once that is committed.

        ``shared``: whether other messages may join the transaction.
        Raises what ``effect``, the inbox or the commit raises; then the effect has been rolled back.
        """
        candidate = BatchCandidate(envelope.conversation_id, self._max_batch_size(envelope) if shared else 1)
        message = PendingMessage(envelope, effect, candidate, asyncio.get_running_loop().create_future())
        self._waiting.append(message)
        if self._running and len(self._waiting) < candidate.max_batch_size:
            self._schedule_late_start()
        elif not self._start_scheduled:
            self._start_scheduled = True
            asyncio.get_running_loop().call_soon(self._start_now)
        result: T = await message.result
        return result

    async def stop(self, timeout_s: float) -> None:
        """Wait for running transactions, whose callers may have been cancelled, and leave neither task nor timer.

        Those that take longer than ``timeout_s`` seconds are cancelled. Call once no message arrives any more.
        """
        await self._running.stop(timeout_s)
        if self._late_start is not None:
            self._late_start.cancel()
            self._late_start = None

    def _max_batch_size(self, envelope: Envelope) -> int:
        """A message on a retry gets its own transaction, because it would probably fail its batch again.

        So does one that has met an outage: it may be the cause, and must not fail others a second time.
        """
        if envelope.attempt > 1 or envelope.id in self._suspects:
            return 1
        policy = self._policies.get(envelope.flow)
        return policy.max_batch_size if policy else DEFAULT_MAX_BATCH_SIZE

    def _schedule_late_start(self) -> None:
        if self._late_start is None:
            self._late_start = asyncio.get_running_loop().call_later(MAX_WAIT_S, self._start_late)

    def _start_late(self) -> None:
        self._late_start = None
        self._start_commit()

    def _start_now(self) -> None:
        """Start a transaction in the next turn of the loop, with all messages that arrived in this one."""
        self._start_scheduled = False
        self._start_commit()

    def _start_commit(self) -> None:
        if len(self._running) < self._max_concurrent and (batch := self._next_batch()):
            self._running.start(self._commit(batch)).add_done_callback(self._on_commit_done)
        if self._waiting and self._running:
            self._schedule_late_start()

    def _on_commit_done(self, _: asyncio.Task[None]) -> None:
        self._start_commit()

    def _next_batch(self) -> list[PendingMessage[U]]:
        """Remove the next batch from the waiting messages; cancelled messages are dropped.

        The batch is sorted by key: every replica takes row locks in the same order, so that none can deadlock.
        """
        self._waiting = [message for message in self._waiting if not message.result.done()]
        indexes = select_batch([message.candidate for message in self._waiting], self._busy_keys)
        batch = sorted((self._waiting[index] for index in indexes), key=lambda message: message.candidate.key)
        for index in reversed(indexes):
            del self._waiting[index]
        self._busy_keys.update(message.candidate.key for message in batch)
        return batch

    async def _commit(self, batch: Sequence[PendingMessage[U]]) -> None:
        try:
            results = await self._apply_effects(batch)
        except TransactionConflict as error:
            self._repeat(batch, error)
        except Unreachable as error:
            self._suspect(batch)
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 - any handler of the batch may have raised anything
            self._retry_one_by_one(batch, error)
        except asyncio.CancelledError:
            for message in batch:
                message.result.cancel()
            raise
        else:
            for message, result in zip(batch, results, strict=True):
                self._suspects.pop(message.envelope.id, None)
                message.set_result(result)
        finally:
            self._busy_keys.difference_update(message.candidate.key for message in batch)

    def _suspect(self, batch: Sequence[PendingMessage[U]]) -> None:
        self._suspects |= {message.envelope.id: None for message in batch}
        while len(self._suspects) > MAX_SUSPECTS:
            del self._suspects[next(iter(self._suspects))]

    async def _apply_effects(self, batch: Sequence[PendingMessage[U]]) -> list[Any]:
        async with self._begin() as work:
            new_ids = set(await work.record_messages([message.envelope for message in batch]))
            results = []
            for message in batch:
                is_new = message.envelope.id in new_ids
                new_ids.discard(message.envelope.id)  # an id counts as new once, also within one batch
                results.append(await message.effect(work, is_new))
            return results

    def _retry_one_by_one(self, batch: Sequence[PendingMessage[U]], error: Exception) -> None:
        if len(batch) == 1:
            return self._fail(batch, error)
        log.warning(
            "shared transaction rolled back, retrying one by one", messages=len(batch), error=error_summary(error)
        )
        self._waiting[:0] = [message.isolated() for message in batch]
        return None

    def _repeat(self, batch: Sequence[PendingMessage[U]], error: TransactionConflict) -> None:
        """Repeat each message in its own transaction, and fail those that have conflicted too often."""
        exhausted = [message for message in batch if message.conflicts >= MAX_CONFLICTS]
        self._fail(exhausted, error)
        again = [m.isolated(conflicts=m.conflicts + 1) for m in batch if m.conflicts < MAX_CONFLICTS]
        if again:
            log.info("transaction conflict, repeating one by one", messages=len(again), error=error_summary(error))
        self._waiting[:0] = again

    def _fail(self, batch: Sequence[PendingMessage[U]], error: Exception) -> None:
        for message in batch:
            message.set_error(error)
