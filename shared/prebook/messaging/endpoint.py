"""Inbound side of a service: gives every received message exactly one committed effect.

Source: EIP, Service Activator and Idempotent Receiver.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from prebook.contracts.message import Message
from prebook.messaging.claim_checks import RedeemClaim, redeem_nothing
from prebook.messaging.clock import utc_now
from prebook.messaging.crash_points import CrashPoint, reach
from prebook.messaging.envelope import Envelope, MessageKind, request_key
from prebook.messaging.errors import NoHandler, RequestExpired
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import MessagingObserver, NullObserver
from prebook.messaging.policy import Policies
from prebook.messaging.staging import MessageContext, Staging
from prebook.messaging.transaction_batcher import TransactionBatcher
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitOfWork
from prebook.patterns.claim_check import ClaimCheck

U = TypeVar("U", bound=UnitOfWork)


@dataclass(frozen=True, slots=True)
class Handled:
    """Outcome of a message whose effect is committed."""

    reply: Envelope | None = None
    """Reply to the request, if it is known, now or from an earlier delivery."""
    requests: Sequence[Envelope] = ()
    """Requests of inline couplings, which must be sent right after the commit; all others are in the outbox."""
    duplicate: bool = False
    """The inbox had recorded the message already, so that nothing was done."""


class Endpoint(Generic[U]):
    """Records each message in the inbox, runs its handler, and commits state, inbox and outbox together."""

    def __init__(
        self,
        service: str,
        handlers: Handlers[U],
        begin: BeginUnitOfWork[U],
        staging: Staging,
        policies: Policies,
        *,
        redeem: RedeemClaim = redeem_nothing,
        observer: MessagingObserver | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """``redeem`` gets the bodies behind claim checks."""
        self._redeem = redeem
        self._service = service
        self._handlers = handlers.table()
        self._provided_flows = [flow for kind, flow in self._handlers if kind is MessageKind.REQUEST]
        self._staging = staging
        self._transactions: TransactionBatcher[U] = TransactionBatcher(begin, policies)
        self._observer = observer or NullObserver()
        self._clock = clock

    async def receive(self, envelope: Envelope) -> Handled:
        """Give the message its one effect and commit it.

        An expired request has none. Raises whatever the handler raises, and RequestExpired if the request has failed
        before; then nothing has been committed, and the message may be delivered again.
        """
        if envelope.kind is MessageKind.REQUEST and envelope.is_expired(self._clock()):
            if envelope.attempt > 1:
                raise RequestExpired(f"{envelope.flow} expired after {envelope.attempt - 1} failed attempts")
            self._observer.on_expired(envelope, "inbound")
            return Handled()
        reach(CrashPoint.RECEIVED, envelope.id)
        began = time.perf_counter()
        try:
            handled = await self._handle(envelope)
        except Exception as error:
            self._observer.on_handling_failed(envelope, error)
            raise
        if handled.duplicate:
            self._observer.on_duplicate(envelope)
        else:
            self._observer.on_handled(envelope, time.perf_counter() - began)
        return handled

    async def stop(self, timeout_s: float) -> None:
        """Wait for running transactions, and cancel those that take longer than ``timeout_s`` seconds."""
        await self._transactions.stop(timeout_s)

    async def _handle(self, envelope: Envelope) -> Handled:
        spec = self._find_handler(envelope)
        context = HandlerContext(
            conversation_id=envelope.conversation_id,
            message_id=envelope.id,
            plan=envelope.plan,
            now=self._clock(),
            request_key=request_key(envelope),
            occurred_at=envelope.time,
        )
        body = await spec.prepare(context, await self._body_of(envelope))

        async def apply(work: U, is_new: bool) -> Handled:
            if not is_new:
                return Handled(reply=await self._find_stored_reply(envelope, work), duplicate=True)
            result = await spec.handle(context, body, work)
            outgoing = self._staging.context_of(envelope, context.now)
            reply = await self._record_outcome(envelope, result, outgoing, work)
            return Handled(reply, await self._staging.stage(outgoing, result, work, reply))

        return await self._transactions.run(envelope, apply, shared=spec.shares_transaction)

    async def _body_of(self, envelope: Envelope) -> Message:
        """Return the body, from the sender's store if the message has a claim check, before the transaction begins."""
        return await self._redeem(envelope) if isinstance(envelope.body, ClaimCheck) else envelope.body

    def _find_handler(self, envelope: Envelope) -> HandlerSpec[U]:
        try:
            return self._handlers[envelope.kind, envelope.flow]
        except KeyError:
            raise NoHandler(f"{self._service} has no handler for the {envelope.kind} {envelope.flow!r}") from None

    async def _find_stored_reply(self, envelope: Envelope, work: U) -> Envelope | None:
        return await work.find_reply(envelope.id) if envelope.kind is MessageKind.REQUEST else None

    async def _record_outcome(
        self, envelope: Envelope, result: HandlerResult, outgoing: MessageContext, work: U
    ) -> Envelope | None:
        """Record the reply, addressed to this request or to the pending one; or record the request as pending."""
        is_request = envelope.kind is MessageKind.REQUEST
        if result.reply is None:
            if is_request:
                await work.record_request(envelope)
            return None
        request = envelope if is_request else await self._find_pending_request(envelope, work)
        if request is None:
            return None
        reply = request.reply_with(result.reply, source=self._service, at=self._clock())
        reply = self._staging.write_reply(reply, outgoing)
        await work.record_reply(reply)
        return reply

    async def _find_pending_request(self, envelope: Envelope, work: U) -> Envelope | None:
        for flow in self._provided_flows:
            if request := await work.find_pending_request(flow, envelope.conversation_id):
                return request
        return None
