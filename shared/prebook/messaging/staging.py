"""Staging: turns a handler result into outbox messages, pending replies and inline requests, in one unit of work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebook.contracts.plan import Plan
from prebook.flows import EVENT_TYPE_BY_BODY, FLOWS, Event, Request
from prebook.messaging.body_writer import DEFAULT_WRITER, BodyWriter
from prebook.messaging.channel import Channel, Channels
from prebook.messaging.claim_checks import ClaimCheckPolicy
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.messaging.handlers import HandlerResult
from prebook.messaging.policy import Policies
from prebook.messaging.spans import created_in, handling_context
from prebook.messaging.unit_of_work import CheckedBody, OutboxMessage, PendingReply, UnitOfWork
from prebook.patterns.trace import TraceContext

FIRST_POLL_DELAY = timedelta(seconds=1)
"""Time that a callback may take before the caller polls for the reply."""
INLINE_RECOVERY_S = 30.0
"""Seconds after the timeout of an inline call until the database ends it, if the calling process has died meanwhile."""


@dataclass(frozen=True, slots=True)
class MessageContext:
    """Fields that all messages of one handler result share."""

    conversation_id: str
    """Conversation of every message that names no other."""
    plan: Plan
    trace: TraceContext
    """Position in a trace of the message that was handled."""
    now: datetime
    """Creation time of the messages, in UTC."""


def ordering_key(envelope: Envelope) -> str:
    """Return the key that orders a message in the outbox: its conversation, or its own id if its flow is unordered."""
    flow = FLOWS.get(envelope.flow)
    return envelope.id if flow is not None and not flow.ordered else envelope.conversation_id


class Staging:
    """Addresses the messages of one handler result and enqueues them inside its unit of work."""

    def __init__(
        self,
        service: str,
        channels: Channels,
        policies: Policies,
        claim_checks: ClaimCheckPolicy | None = None,
        writer: BodyWriter = DEFAULT_WRITER,
        *,
        exports_spans: bool = False,
    ) -> None:
        """``claim_checks``: policy for large bodies; None: every message carries its body.

        ``writer``: form in which bodies are written. ``exports_spans``: whether messages name the spans in which they
        are created.
        """
        self._exports_spans = exports_spans
        self._claim_checks = claim_checks
        self._writer = writer
        self._service = service
        self._channels = channels
        self._policies = policies

    async def stage(
        self, context: MessageContext, result: HandlerResult, work: UnitOfWork, reply: Envelope | None = None
    ) -> Sequence[Envelope]:
        """Enqueue the messages of ``result`` (and ``reply``), and record the replies that its requests wait for.

        A message that goes to the outbox leaves a large body in the claim store. Returns the requests of inline
        couplings, to be sent right after the commit. Raises what the database raises.
        """
        stored: list[CheckedBody] = []
        requests = [(self._request(request, context, stored), request.delay_s) for request in result.requests]
        inline = [request for request, delay_s in requests if not self._goes_to_outbox(request, delay_s)]
        messages = [
            self._outbox_message(request, delay_s)
            for request, delay_s in requests
            if self._goes_to_outbox(request, delay_s)
        ]
        events = [self._check_in(self._event(event, context), stored) for event in result.events]
        messages += [self._outbox_message(event) for event in events]
        if reply is not None and self._channel(reply).traits.uses_outbox:
            messages.append(self._outbox_message(self._check_in(reply, stored)))
        if requests:
            await work.await_replies([self._pending_reply(request, delay_s) for request, delay_s in requests])
        if stored:
            await work.store_bodies(stored)
        if messages:
            await work.enqueue(messages)
        return inline

    def context_of(self, envelope: Envelope, now: datetime) -> MessageContext:
        """Return the context of the messages that the handling of ``envelope`` causes at the time ``now``."""
        trace = handling_context(envelope, self._service) if self._exports_spans else envelope.trace
        return MessageContext(envelope.conversation_id, envelope.plan, trace, now)

    def write_reply(self, reply: Envelope, context: MessageContext) -> Envelope:
        """Return a new reply, in the form in which this service writes it."""
        return self.write(self._created(reply, context))

    def _created(self, envelope: Envelope, context: MessageContext) -> Envelope:
        return created_in(envelope, context.trace) if self._exports_spans else envelope

    def write(self, envelope: Envelope) -> Envelope:
        """Return a new message with its body in the form in which this service writes it."""
        return self._writer.write(envelope)

    def _channel(self, envelope: Envelope) -> Channel:
        return self._channels[envelope.coupling]

    def _goes_to_outbox(self, request: Envelope, delay_s: float) -> bool:
        return delay_s > 0 or self._channel(request).traits.uses_outbox

    def _outbox_message(self, envelope: Envelope, delay_s: float = 0.0) -> OutboxMessage:
        route = self._channel(envelope).route(envelope)
        return OutboxMessage(envelope, route, ordering_key(envelope), timedelta(seconds=delay_s))

    def _check_in(self, envelope: Envelope, stored: list[CheckedBody]) -> Envelope:
        """Return the message to enqueue, and add its body to ``stored`` if the message is to carry a claim check."""
        if self._claim_checks is None:
            return envelope
        checked, body = self._claim_checks.check_in(envelope)
        if body is not None:
            stored.append(body)
        return checked

    def _request(self, request: Request, context: MessageContext, stored: list[CheckedBody]) -> Envelope:
        envelope = self._request_envelope(request, context)
        return self._check_in(envelope, stored) if self._goes_to_outbox(envelope, request.delay_s) else envelope

    def _request_envelope(self, request: Request, context: MessageContext) -> Envelope:
        lifetime = timedelta(seconds=self._policies[request.flow].deadline_s + request.delay_s)
        conversation_id = request.conversation_id or context.conversation_id
        envelope = Envelope(
            id=message_id(conversation_id, request.flow, request.key),
            kind=MessageKind.REQUEST,
            flow=request.flow,
            body=request.body,
            source=self._service,
            conversation_id=conversation_id,
            time=context.now,
            plan=context.plan,
            expires_at=context.now + lifetime,
            trace=context.trace.child(),
        )
        return self._channel(envelope).addressed(self.write(self._created(envelope, context)))

    def _event(self, event: Event, context: MessageContext) -> Envelope:
        name = EVENT_TYPE_BY_BODY[type(event.body)].name
        conversation_id = event.conversation_id or context.conversation_id
        envelope = Envelope(
            id=message_id(conversation_id, name, event.key),
            kind=MessageKind.EVENT,
            flow=name,
            body=event.body,
            source=self._service,
            conversation_id=conversation_id,
            time=context.now,
            plan=context.plan,
            trace=context.trace.child(),
        )
        return self.write(self._created(envelope, context))

    def _pending_reply(self, request: Envelope, delay_s: float) -> PendingReply:
        policy = self._policies[request.flow]
        patience_s = policy.deadline_s
        if not self._goes_to_outbox(request, delay_s):
            patience_s = min(patience_s, policy.timeout_s + INLINE_RECOVERY_S)
        due_at = request.time + timedelta(seconds=patience_s + delay_s)
        poll_at = request.time + FIRST_POLL_DELAY + timedelta(seconds=delay_s)
        return PendingReply(request, due_at, poll_at if self._channel(request).traits.polls else None)
