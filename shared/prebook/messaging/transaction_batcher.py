"""Transactions that several messages share: what waits while one commits goes into the next together.

A message that finds none under way begins one at once. Otherwise it waits for that to end, or until a whole transaction
of messages waits with it, or for as long as one usually takes: so the more there is to do, the more share each round
trip. Where one of them fails all are undone, and each is tried on its own: a poison message costs those it was with a
second try and nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable, error_summary
from prebook.messaging.policy import DEFAULT_MAX_BATCH_SIZE, Policies
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitOfWork
from prebook.patterns.batch_selection import BatchCandidate, select_batch

MAX_CONCURRENT_TRANSACTIONS = 4
"""Transactions."""
MAX_WAIT_S = 0.02
"""One that takes longer waits for somebody's lock, or the database is slow; others need not wait with it."""
U = TypeVar("U", bound=UnitOfWork)
T = TypeVar("T")
MessageEffect = Callable[[U, bool], Awaitable[T]]
"""Given the unit of work, and whether the message is new to it."""
log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class PendingMessage(Generic[U]):
    """A message that waits for its transaction, and who waits for what comes of it."""

    envelope: Envelope
    effect: MessageEffect[U, Any]
    candidate: BatchCandidate
    result: asyncio.Future[Any]

    def set_result(self, result: Any) -> None:
        if not self.result.done():
            self.result.set_result(result)

    def set_error(self, error: BaseException) -> None:
        if not self.result.done():
            self.result.set_exception(error)

    def isolated(self) -> "PendingMessage[U]":
        return PendingMessage(self.envelope, self.effect, BatchCandidate(self.candidate.key, 1), self.result)


class TransactionBatcher(Generic[U]):
    """Admits each message, gives it its effect, and commits: one transaction for as many as may share it."""

    def __init__(
        self, begin: BeginUnitOfWork[U], policies: Policies, *, max_concurrent: int = MAX_CONCURRENT_TRANSACTIONS
    ) -> None:
        self._begin, self._policies, self._max_concurrent = begin, policies, max_concurrent
        self._waiting: list[PendingMessage[U]] = []
        self._busy_keys: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._start_scheduled = self._late_start_scheduled = False

    async def run(self, envelope: Envelope, effect: MessageEffect[U, T]) -> T:
        """What ``effect`` returned, once that is committed. Raises what it raises; then it left nothing behind."""
        passenger = BatchCandidate(envelope.conversation_id, self._max_batch_size(envelope))
        case = PendingMessage(envelope, effect, passenger, asyncio.get_running_loop().create_future())
        self._waiting.append(case)
        if self._running and len(self._waiting) < passenger.max_batch_size:
            self._schedule_late_start()
        elif not self._start_scheduled:
            self._start_scheduled = True
            asyncio.get_running_loop().call_soon(self._start_now)
        result: T = await case.result
        return result

    def _max_batch_size(self, envelope: Envelope) -> int:
        """What has failed before goes alone: it would most likely cost others a try again."""
        if envelope.attempt > 1:
            return 1
        policy = self._policies.get(envelope.flow)
        return policy.max_batch_size if policy else DEFAULT_MAX_BATCH_SIZE

    def _schedule_late_start(self) -> None:
        if not self._late_start_scheduled:
            self._late_start_scheduled = True
            asyncio.get_running_loop().call_later(MAX_WAIT_S, self._start_late)

    def _start_late(self) -> None:
        self._late_start_scheduled = False
        self._start_commit()

    def _start_now(self) -> None:
        """Not in ``run``: what comes in the same turn of the loop goes with it."""
        self._start_scheduled = False
        self._start_commit()

    def _start_commit(self) -> None:
        if len(self._running) < self._max_concurrent and (cases := self._next_batch()):
            task = asyncio.create_task(self._commit(cases))
            self._running.add(task)
            task.add_done_callback(self._on_commit_done)
        if self._waiting and self._running:
            self._schedule_late_start()

    def _on_commit_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start_commit()

    def _next_batch(self) -> list[PendingMessage[U]]:
        """Who has stopped waiting is left out: nothing of it has begun.

        In the order of their keys, as in every replica: who want the same locks wait for each other in no circle.
        """
        self._waiting = [case for case in self._waiting if not case.result.done()]
        places = select_batch([case.candidate for case in self._waiting], self._busy_keys)
        cases = sorted((self._waiting[place] for place in places), key=lambda case: case.candidate.key)
        for place in reversed(places):
            del self._waiting[place]
        self._busy_keys.update(case.candidate.key for case in cases)
        return cases

    async def _commit(self, batch: Sequence[PendingMessage[U]]) -> None:
        try:
            results = await self._apply_effects(batch)
        except Unreachable as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything, and whose fault it was is not known
            self._retry_one_by_one(batch, error)
        except asyncio.CancelledError:
            for case in batch:
                case.result.cancel()
            raise
        else:
            for case, result in zip(batch, results, strict=True):
                case.set_result(result)
        finally:
            self._busy_keys.difference_update(case.candidate.key for case in batch)

    async def _apply_effects(self, batch: Sequence[PendingMessage[U]]) -> list[Any]:
        async with self._begin() as work:
            new = await work.record_messages([case.envelope for case in batch])
            return [await case.effect(work, case.envelope.id in new) for case in batch]

    def _retry_one_by_one(self, batch: Sequence[PendingMessage[U]], error: Exception) -> None:
        if len(batch) == 1:
            return self._fail(batch, error)
        log.warning(
            "shared transaction rolled back, retrying one by one", messages=len(batch), error=error_summary(error)
        )
        self._waiting[:0] = [case.isolated() for case in batch]
        return None

    def _fail(self, batch: Sequence[PendingMessage[U]], error: Exception) -> None:
        for case in batch:
            case.set_error(error)
