"""Inbound gateway: entry of a service for messages that arrive over HTTP or from the broker.

Source: EIP, Messaging Gateway.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from prebook.asyncio_tools import OwnedTasks
from prebook.coupling.reply_waiters import ReplyWaiters
from prebook.messaging.clock import utc_now
from prebook.messaging.crash_points import CrashPoint, reach
from prebook.messaging.envelope import Envelope, MessageKind, reply_id
from prebook.messaging.errors import CallExpired, Malformed, ReplyTimeout
from prebook.messaging.gateway import MessagingGateway
from prebook.messaging.headers import REPEATED_HEADER
from prebook.messaging.outbox.store import LOCAL_ROUTE
from prebook.messaging.staging import ordering_key
from prebook.messaging.unit_of_work import BeginUnitOfWork, OutboxMessage, StoredBody, UnitOfWork


class InboundGateway:
    """Receives messages for one service; called by its HTTP routes and its consumers."""

    def __init__(
        self,
        gateway: MessagingGateway[Any],
        begin: BeginUnitOfWork[UnitOfWork],
        waiters: ReplyWaiters,
        tasks: OwnedTasks,
    ) -> None:
        """``tasks``: calls being handled, which continue when their callers disconnect."""
        self._gateway = gateway
        self._begin = begin
        self._waiters = waiters
        self._tasks = tasks

    async def call(self, request: Envelope, timeout_s: float) -> Envelope:
        """Handle a request and return its reply; wait up to ``timeout_s`` seconds, and not until after it expires.

        A repeated request gets the stored reply, or waits for the one being handled, by this replica or another. A
        request that fails is tried again while its caller waits. Raises ReplyTimeout, CallExpired, Unreachable, or
        RequestFailed (it is dead-lettered).
        """
        now = utc_now()
        if request.is_expired(now):
            await self._gateway.process(request)  # counts it, without an effect
            raise CallExpired(f"the request of {request.flow} had expired when it arrived")
        expires_at = now + timedelta(seconds=timeout_s)
        request = request.expiring_by(expires_at)
        timeout_s = ((request.expires_at or expires_at) - now).total_seconds()
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + timeout_s
        with self._waiters.register(reply_id(request.id)) as waiting:
            task = self._start(request)
            task_or_reply: set[asyncio.Future[Any]] = {task, waiting}
            await asyncio.wait(task_or_reply, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and task.done():
                if reply := task.result():
                    reach(CrashPoint.BEFORE_RESPONSE)
                    return reply
                await asyncio.wait({waiting}, timeout=max(0.0, give_up_at - clock()))
            if waiting.done():
                reach(CrashPoint.BEFORE_RESPONSE)
                return waiting.result()
            raise ReplyTimeout(f"{request.flow} has no reply after {timeout_s:g} s")

    async def accept(self, request: Envelope) -> None:
        """Store a request, or a callback, in the outbox's local route; from then on it is handled, also after a crash.

        Raises whatever the database raises.
        """
        async with self._begin() as work:
            await work.enqueue([OutboxMessage(request, LOCAL_ROUTE, ordering_key(request))])

    async def receive(self, envelope: Envelope) -> None:
        """Handle a message from the broker. Raises whatever the handler raises."""
        await self._gateway.process(envelope)

    async def receive_callback(self, reply: Envelope) -> None:
        """Handle a callback. One that fails is stored with its next attempt, or dead-lettered. Raises Unreachable.

        A repeated one is stored and handled from there, where attempts that end the process are counted.
        """
        if REPEATED_HEADER in reply.extra:
            extra = {name: text for name, text in reply.extra.items() if name != REPEATED_HEADER}
            return await self.accept(replace(reply, extra=extra))
        await self._gateway.process_or_recover(reply)
        return None

    async def find_reply(self, request_id: str) -> Envelope | None:
        """The stored reply to an earlier request, if there is one."""
        async with self._begin() as work:
            return await work.find_reply(request_id)

    async def find_received_at(self, message_id: str) -> datetime | None:
        """Time at which the message had its effect here; None if it had none within the deduplication window."""
        async with self._begin() as work:
            return await work.find_received_at(message_id)

    async def read_body(self, reference: str) -> StoredBody | None:
        """The body of a message that this service has sent with a claim check; None if it has been deleted."""
        async with self._begin() as work:
            return await work.read_body(reference)

    async def extend_bodies(self, references: Collection[str], lifetime: timedelta) -> int:
        """Keep such bodies for ``lifetime`` from now, or longer; returns how many of them there are."""
        async with self._begin() as work:
            return await work.extend_bodies(references, lifetime)

    def _start(self, request: Envelope) -> asyncio.Task[Envelope | None]:
        """Start a separate task: a caller that disconnects must not undo half of the effect."""
        task = self._tasks.start(self._gateway.process_or_recover(request))
        task.add_done_callback(_retrieve_error)
        return task


def _retrieve_error(task: asyncio.Task[Envelope | None]) -> None:
    """Keep asyncio from logging an error that the observer has got already."""
    if not task.cancelled():
        task.exception()


def require_kind(kind: MessageKind, flow: str, envelope: Envelope) -> Envelope:
    """Return the envelope if it has this kind and flow. Raises Malformed otherwise."""
    if envelope.kind is not kind or envelope.flow != flow:
        raise Malformed("unexpected_type", f"expected the {kind} of {flow}, got the {envelope.kind} of {envelope.flow}")
    return envelope
