"""The provider's side: the ways in, one door. Transports call these; none of them decides anything else."""

import asyncio
from typing import Any

from prebook.coupling.reply_waiters import Waiters
from prebook.messaging.codec import Malformed
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope, Kind, answer_id
from prebook.messaging.outbox.store import OWN_LANE, Claimed
from prebook.messaging.staging import order_key
from prebook.messaging.unit_of_work import Posting, UnitOfWork

Door = Endpoint[Any]


class NoAnswerInTime(Exception):
    """The caller's patience ended first. The request goes on; its answer is stored for whoever asks again."""


class Doors:
    """Every way into one service."""

    def __init__(self, endpoint: Door, waiters: Waiters) -> None:
        self.endpoint, self._waiters = endpoint, waiters
        self._running: set[asyncio.Task[Envelope | None]] = set()

    async def call(self, request: Envelope, patience_s: float) -> Envelope:
        """A held call. A repeated one is answered from the inbox, or joins the one that is under way.

        Raises NoAnswerInTime, and what the handler raises.
        """
        with self._waiters.waiting_for(answer_id(request.id)) as waiting:
            task = self._apart(request)
            either: set[asyncio.Future[Any]] = {task, waiting}
            await asyncio.wait(either, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and task.done():
                if answer := task.result():
                    return answer
                await asyncio.wait({waiting}, timeout=patience_s)
            if waiting.done():
                return waiting.result()
            raise NoAnswerInTime(f"{request.flow} has no answer after {patience_s:g} s")

    async def accept(self, request: Envelope) -> None:
        """Take a request on: once this returns, it will be handled, also after a crash."""

        async def stage(work: UnitOfWork) -> None:
            await work.post([Posting(request, OWN_LANE, order_key(request))])

        await self.endpoint.write(stage)

    async def operation(self, request_id: str) -> Envelope | None:
        return await self.endpoint.stored_answer(request_id)

    async def message(self, envelope: Envelope) -> None:
        """A message from the broker, or a callback."""
        await self.endpoint.receive(envelope)

    async def send(self, row: Claimed) -> None:
        """The relay's way: out by its coupling, or in where it is our own to handle."""
        if row.lane == OWN_LANE:
            await self.endpoint.receive(row.envelope)
        else:
            await self.endpoint.dispatch(row.envelope)

    def _apart(self, request: Envelope) -> asyncio.Task[Envelope | None]:
        """On its own, so that a caller who hangs up does not undo half of it."""
        task = asyncio.create_task(self.endpoint.receive(request))
        self._running.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Envelope | None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # told to the watch already; read here so that it is not reported as never retrieved


def must_be(kind: Kind, flow: str, envelope: Envelope) -> Envelope:
    """Raises Malformed where the message is not what this door is for."""
    if envelope.kind is not kind or envelope.flow != flow:
        raise Malformed(
            "unexpected_type", f"this door takes the {kind} of {flow}, not the {envelope.kind} of {envelope.flow}"
        )
    return envelope
