"""Outbound side of a service: runs commands, sends messages, and completes inline exchanges.

Source: EIP, Messaging Gateway.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from prebook.contracts.message import Unavailable
from prebook.messaging.body_writer import DEFAULT_WRITER, BodyWriter
from prebook.messaging.channel import Channels
from prebook.messaging.claim_checks import ClaimCheckPolicy, RedeemClaim, redeem_nothing
from prebook.messaging.clock import utc_now
from prebook.messaging.endpoint import Endpoint, Handled
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.errors import (
    ProcessEnded,
    RequestFailed,
    TransactionConflict,
    Undeliverable,
    Unreachable,
    error_summary,
)
from prebook.messaging.handlers import HandlerContext, Handlers
from prebook.messaging.headers import REPEATED_HEADER
from prebook.messaging.observer import MessagingObserver, NullObserver
from prebook.messaging.outbox.store import LOCAL_ROUTE, LeasedRow
from prebook.messaging.policy import Policies
from prebook.messaging.recoverability.decision import try_handle
from prebook.messaging.recoverability.local_recovery import DeadLetterLocal, LocalRecovery, keep_failed
from prebook.messaging.recoverability.starts import count_starts, without_starts
from prebook.messaging.staging import MessageContext, Staging
from prebook.messaging.transaction_batcher import MAX_CONFLICTS
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitOfWork, UnitsOfWork

U = TypeVar("U", bound=UnitOfWork)


class MessagingGateway(Generic[U]):
    """Everything that leaves a service passes here: commands of its users, outbox rows, and inline requests.

    An inline exchange (``sync_api``) is a request whose reply is the return value of the channel. Replies enter
    through the endpoint like any other message; the requests that follow from them go back onto the worklist.
    """

    def __init__(
        self,
        service: str,
        handlers: Handlers[U],
        begin: BeginUnitOfWork[U],
        *,
        endpoint: Endpoint[U],
        staging: Staging,
        channels: Channels,
        recovery: LocalRecovery,
        observer: MessagingObserver | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """``begin`` opens the units of work of commands, apart from those of received messages."""
        self.clock = clock
        self.makes_requests = bool(handlers.on_reply)
        """Whether the service sends requests, and so has replies to wait for."""
        self._service = service
        self._commands = handlers.on_command
        self._begin = begin
        self._endpoint = endpoint
        self._staging = staging
        self._channels = channels
        self._recovery = recovery
        self._observer = observer or NullObserver()

    async def execute(
        self, command: Any, context: MessageContext, *, on_committed: Callable[[], None] = lambda: None
    ) -> None:
        """Run a command's handler in one transaction. Returns once all inline replies are in.

        ``on_committed`` is called after the commit, before the inline requests are sent. Raises whatever the handler
        raises; then nothing has been committed.
        """
        spec = self._commands[type(command)]
        handler_context = HandlerContext(context.conversation_id, message_id="", plan=context.plan, now=context.now)
        began = time.perf_counter()
        body = await spec.prepare(handler_context, command)
        for repetition in range(MAX_CONFLICTS + 1):
            try:
                async with self._begin() as work:
                    requests = await self._staging.stage(context, await spec.handle(handler_context, body, work), work)
            except TransactionConflict:
                if repetition == MAX_CONFLICTS:
                    raise
            else:
                break
        on_committed()
        await self._complete(requests)
        self._observer.on_executed(type(command).__name__, context, time.perf_counter() - began)

    async def process(self, envelope: Envelope) -> Envelope | None:
        """Receive a message with all that follows inline from it.

        Returns the reply to a request, if it is known. Raises whatever the handler raises.
        """
        handled = await self._endpoint.receive(envelope)
        await self._finish(handled)
        await self._complete(handled.requests)
        return handled.reply

    async def process_or_recover(self, envelope: Envelope) -> Envelope | None:
        """Process a message that no queue delivers again; if it fails, store its next attempt or dead-letter it.

        Returns the reply to a request, if it is known now. Raises Unreachable, or RequestFailed for a request that is
        dead-lettered.
        """
        try:
            return await self.process(envelope)
        except Unreachable:
            raise
        except Exception as error:
            has_next_attempt = await self._recovery.recover_received(envelope, error)
            if envelope.kind is MessageKind.REQUEST and not has_next_attempt:
                raise RequestFailed(f"{envelope.flow}: {error_summary(error)}") from error
        return None

    async def dispatch(self, row: LeasedRow) -> None:
        """Send an outbox row; a row of the local route is handled by this service itself.

        Raises Unreachable (retry later), Undeliverable (never) or HandleAgain (a row of the local route has failed).
        """
        envelope = row.envelope
        if row.route == LOCAL_ROUTE:
            await self._process_row(envelope)
            return
        channel = self._channels[envelope.coupling]
        if row.failures and channel.traits.polls:  # the receiver may have ended at its first attempt
            envelope = replace(envelope, extra={**envelope.extra, REPEATED_HEADER: str(row.failures)})
        if channel.traits.replies_inline and envelope.kind is MessageKind.REQUEST:
            await self._complete([envelope])
            return
        began = time.perf_counter()
        if envelope.kind is MessageKind.REPLY:
            await channel.reply(envelope)
        else:
            await channel.send(envelope)
        self._observer.on_sent(envelope, time.perf_counter() - began)

    async def stop(self, timeout_s: float) -> None:
        """Wait for transactions of cancelled callers, and cancel those that take longer than ``timeout_s`` seconds."""
        await self._endpoint.stop(timeout_s)

    def timeout_reply(self, request: Envelope, reason: str) -> Envelope:
        """Synthetic reply in place of one that did not come.

        It has the id of the real reply, so that only the first of the two counts. ``reason``: word of
        ``Unavailable.reason``.
        """
        return request.reply_with(Unavailable(reason=reason), source=self._service, at=self.clock())

    async def _process_row(self, envelope: Envelope) -> None:
        starts = count_starts(envelope)
        envelope = without_starts(envelope)
        if starts >= self._recovery.max_attempts(envelope):
            problem = f"its handling has ended the process before there was an outcome; it was taken up {starts} times"
            return await self._recovery.recover_row(replace(envelope, attempt=starts), ProcessEnded(problem))
        if error := await try_handle(self.process, envelope):
            await self._recovery.recover_row(envelope, error)
        return None

    async def _finish(self, handled: Handled) -> None:
        """Hand over a reply that does not leave through the outbox."""
        if handled.reply is not None and not handled.duplicate:
            channel = self._channels[handled.reply.coupling]
            if not channel.traits.uses_outbox:
                await channel.reply(handled.reply)

    async def _complete(self, requests: Sequence[Envelope]) -> None:
        """Work off inline requests and those that follow from their replies, whichever reply comes first."""
        pending = {asyncio.create_task(self._exchange(request)) for request in requests}
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                follow_ups = [request for task in done for request in task.result()]
                pending |= {asyncio.create_task(self._exchange(request)) for request in follow_ups}
        finally:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.gather(*pending, return_exceptions=True)

    async def _exchange(self, request: Envelope) -> Sequence[Envelope]:
        """Send one inline request and receive its reply; returns the requests that follow from it.

        Raises no error: the message that began the exchange is committed, and its other exchanges continue. An error is
        reported once, and the deadline of the request replies instead; an outbox row counts as sent.
        """
        try:
            reply = await self._request(request)
            handled = await self._receive(reply) if reply is not None else Handled()
            await self._finish(handled)
        except Exception as error:  # noqa: BLE001 - an adapter may raise anything
            self._observer.on_send_failed(request, error)
            return ()
        return handled.requests

    async def _receive(self, reply: Envelope) -> Handled:
        """Receive an inline reply; what follows from one that failed is done at its next attempt."""
        try:
            return await self._endpoint.receive(reply)
        except Unreachable:
            return Handled()
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            await self._recovery.recover_received(reply, error)
            return Handled()

    async def _request(self, request: Envelope) -> Envelope | None:
        """The reply, or the synthetic one that says why there is none."""
        began = time.perf_counter()
        try:
            reply = await self._channels[request.coupling].send(request)
        except (Unreachable, Undeliverable) as failure:
            self._observer.on_send_failed(request, failure)
            reason = failure.reason if isinstance(failure, Unreachable) else "refused"
            return self.timeout_reply(request, reason)
        self._observer.on_sent(request, time.perf_counter() - began)
        return reply


def create_gateway(
    service: str,
    handlers: Handlers[U],
    units: UnitsOfWork[U],
    channels: Channels,
    policies: Policies,
    *,
    dead_letter: DeadLetterLocal = keep_failed,
    claim_checks: ClaimCheckPolicy | None = None,
    redeem: RedeemClaim = redeem_nothing,
    writer: BodyWriter = DEFAULT_WRITER,
    observer: MessagingObserver | None = None,
    clock: Callable[[], datetime] = utc_now,
    exports_spans: bool = False,
) -> MessagingGateway[U]:
    """The messaging core of a service: its handler table between its channels and its database.

    ``claim_checks``: policy for large bodies of its messages; ``redeem`` gets those of received ones. ``writer``: form
    in which it writes bodies. ``exports_spans``: whether its messages name the spans in which they are created.
    """
    observer = observer or NullObserver()
    staging = Staging(service, channels, policies, claim_checks, writer, exports_spans=exports_spans)
    endpoint = Endpoint(
        service, handlers, units.messages, staging, policies, redeem=redeem, observer=observer, clock=clock
    )
    return MessagingGateway(
        service,
        handlers,
        units.commands,
        endpoint=endpoint,
        staging=staging,
        channels=channels,
        recovery=LocalRecovery(units.messages, policies, observer, dead_letter),
        observer=observer,
        clock=clock,
    )
