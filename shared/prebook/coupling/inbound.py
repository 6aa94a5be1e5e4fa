"""The provider's side: the ways in, one door. Transports call these; none of them decides anything else."""

import asyncio
from typing import Any

from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope, MessageKind, reply_id
from prebook.messaging.errors import Malformed, ReplyTimeout
from prebook.messaging.outbox.store import LOCAL_ROUTE, LeasedRow
from prebook.messaging.staging import ordering_key
from prebook.messaging.unit_of_work import OutboxMessage, UnitOfWork

AnyEndpoint = Endpoint[Any]


class InboundGateway:
    """Every way into one service."""

    def __init__(self, endpoint: AnyEndpoint, waiters: ReplyWaiters) -> None:
        self.endpoint, self._waiters = endpoint, waiters
        self._running: set[asyncio.Task[Envelope | None]] = set()

    async def call(self, request: Envelope, timeout_s: float) -> Envelope:
        """A held call. A repeated one is answered from the inbox, or joins the one that is under way.

        Raises ReplyTimeout, and what the handler raises.
        """
        with self._waiters.register(reply_id(request.id)) as waiting:
            task = self._start_receive(request)
            either: set[asyncio.Future[Any]] = {task, waiting}
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and task.done():
                if answer := task.result():
                    return answer
                await asyncio.wait({waiting}, timeout=timeout_s)
            if waiting.done():
                return waiting.result()
            raise ReplyTimeout(f"{request.flow} has no answer after {timeout_s:g} s")

    async def accept(self, request: Envelope) -> None:
        """Take a request on: once this returns, it will be handled, also after a crash."""

        async def stage(work: UnitOfWork) -> None:
            await work.enqueue([OutboxMessage(request, LOCAL_ROUTE, ordering_key(request))])

        await self.endpoint.run_in_transaction(stage)

    async def find_reply(self, request_id: str) -> Envelope | None:
        return await self.endpoint.find_reply(request_id)

    async def receive(self, envelope: Envelope) -> None:
        """A message from the broker, or a callback."""
        await self.endpoint.receive(envelope)

    async def dispatch(self, row: LeasedRow) -> None:
        """The relay's way: out by its coupling, or in where it is our own to handle."""
        if row.route == LOCAL_ROUTE:
            await self.endpoint.receive(row.envelope)
        else:
            await self.endpoint.dispatch(row.envelope)

    def _start_receive(self, request: Envelope) -> asyncio.Task[Envelope | None]:
        """On its own, so that a caller who hangs up does not undo half of it."""
        task = asyncio.create_task(self.endpoint.receive(request))
        self._running.add(task)
        task.add_done_callback(self._discard_task)
        return task

    def _discard_task(self, task: asyncio.Task[Envelope | None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # told to the watch already; read here so that it is not reported as never retrieved


def require_kind(kind: MessageKind, flow: str, envelope: Envelope) -> Envelope:
    """Raises Malformed where the message is not what this door is for."""
    if envelope.kind is not kind or envelope.flow != flow:
        raise Malformed(
            "unexpected_type", f"this door takes the {kind} of {flow}, not the {envelope.kind} of {envelope.flow}"
        )
    return envelope
