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

from prebook.messaging.channel import Unreachable
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import spelled
from prebook.messaging.policy import TOGETHER, Policies
from prebook.messaging.unit_of_work import Begin, UnitOfWork
from prebook.patterns.batch_selection import Passenger, together

AT_ONCE = 4
"""Transactions."""
PATIENCE_S = 0.02
"""One that takes longer waits for somebody's lock, or the database is slow; others need not wait with it."""
U = TypeVar("U", bound=UnitOfWork)
T = TypeVar("T")
Effect = Callable[[U, bool], Awaitable[T]]
"""Given the unit of work, and whether the message is new to it."""
log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Case(Generic[U]):
    """A message that waits for its transaction, and who waits for what comes of it."""

    envelope: Envelope
    effect: Effect[U, Any]
    passenger: Passenger
    ended: asyncio.Future[Any]

    def end(self, result: Any) -> None:
        if not self.ended.done():
            self.ended.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)

    def alone(self) -> "Case[U]":
        return Case(self.envelope, self.effect, Passenger(self.passenger.key, 1), self.ended)


class Transactions(Generic[U]):
    """Admits each message, gives it its effect, and commits: one transaction for as many as may share it."""

    def __init__(self, begin: Begin[U], policies: Policies, *, at_once: int = AT_ONCE) -> None:
        self._begin, self._policies, self._at_once = begin, policies, at_once
        self._waiting: list[Case[U]] = []
        self._under_way: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._soon = self._later = False

    async def run(self, envelope: Envelope, effect: Effect[U, T]) -> T:
        """What ``effect`` returned, once that is committed. Raises what it raises; then it left nothing behind."""
        passenger = Passenger(envelope.conversation, self._most(envelope))
        case = Case(envelope, effect, passenger, asyncio.get_running_loop().create_future())
        self._waiting.append(case)
        if self._running and len(self._waiting) < passenger.most:
            self._look_later()
        elif not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._look)
        result: T = await case.ended
        return result

    def _most(self, envelope: Envelope) -> int:
        """What has failed before goes alone: it would most likely cost others a try again."""
        if envelope.attempt > 1:
            return 1
        policy = self._policies.get(envelope.flow)
        return policy.together if policy else TOGETHER

    def _look_later(self) -> None:
        if not self._later:
            self._later = True
            asyncio.get_running_loop().call_later(PATIENCE_S, self._looked_later)

    def _looked_later(self) -> None:
        self._later = False
        self._start()

    def _look(self) -> None:
        """Not in ``run``: what comes in the same turn of the loop goes with it."""
        self._soon = False
        self._start()

    def _start(self) -> None:
        if len(self._running) < self._at_once and (cases := self._next()):
            task = asyncio.create_task(self._commit(cases))
            self._running.add(task)
            task.add_done_callback(self._ended)
        if self._waiting and self._running:
            self._look_later()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    def _next(self) -> list[Case[U]]:
        """Who has stopped waiting is left out: nothing of it has begun.

        In the order of their keys, as in every replica: who want the same locks wait for each other in no circle.
        """
        self._waiting = [case for case in self._waiting if not case.ended.done()]
        places = together([case.passenger for case in self._waiting], self._under_way)
        cases = sorted((self._waiting[place] for place in places), key=lambda case: case.passenger.key)
        for place in reversed(places):
            del self._waiting[place]
        self._under_way.update(case.passenger.key for case in cases)
        return cases

    async def _commit(self, cases: Sequence[Case[U]]) -> None:
        try:
            results = await self._effects(cases)
        except Unreachable as error:
            self._failed(cases, error)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything, and whose fault it was is not known
            self._undone(cases, error)
        except asyncio.CancelledError:
            for case in cases:
                case.ended.cancel()
            raise
        else:
            for case, result in zip(cases, results, strict=True):
                case.end(result)
        finally:
            self._under_way.difference_update(case.passenger.key for case in cases)

    async def _effects(self, cases: Sequence[Case[U]]) -> list[Any]:
        async with self._begin() as work:
            new = await work.admit_all([case.envelope for case in cases])
            return [await case.effect(work, case.envelope.id in new) for case in cases]

    def _undone(self, cases: Sequence[Case[U]], error: Exception) -> None:
        if len(cases) == 1:
            return self._failed(cases, error)
        log.warning("undone together, tried one by one", messages=len(cases), error=spelled(error))
        self._waiting[:0] = [case.alone() for case in cases]
        return None

    def _failed(self, cases: Sequence[Case[U]], error: Exception) -> None:
        for case in cases:
            case.fail(error)
