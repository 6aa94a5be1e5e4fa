"""From what a step returned to envelopes in the outbox, answers expected, and requests to send at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebook.contracts.plan import Plan
from prebook.flows import EVENT_TYPE_BY_BODY, FLOWS, Event, Request
from prebook.messaging.channel import Channel, Channels
from prebook.messaging.envelope import Envelope, MessageKind, message_id
from prebook.messaging.handlers import HandlerResult
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import OutboxMessage, PendingReply, UnitOfWork
from prebook.patterns import trace

FIRST_POLL_DELAY = timedelta(seconds=1)
"""How long a callback may take before the caller asks after its answer."""


@dataclass(frozen=True, slots=True)
class MessageContext:
    """What every message of one step has in common."""

    conversation_id: str
    plan: Plan
    traceparent: str
    now: datetime


def ordering_key(envelope: Envelope) -> str:
    """The conversation, or the message alone where its flow knows no order."""
    flow = FLOWS.get(envelope.flow)
    return envelope.id if flow is not None and not flow.ordered else envelope.conversation_id


class Staging:
    """Addresses and stages the messages of one step, inside its unit of work."""

    def __init__(self, service: str, channels: Channels, policies: Policies) -> None:
        self._service, self._channels, self._policies = service, channels, policies

    async def stage(
        self, context: MessageContext, result: HandlerResult, work: UnitOfWork, reply: Envelope | None = None
    ) -> Sequence[Envelope]:
        """Into the outbox what may wait; requests that may not are returned, to be sent right after the commit."""
        requests = [(self._request_envelope(request, context), request.delay_s) for request in result.requests]
        direct = [r for r, after_s in requests if not self._goes_to_outbox(r, after_s)]
        postings = [self._outbox_message(r, after_s) for r, after_s in requests if self._goes_to_outbox(r, after_s)]
        postings += [self._outbox_message(self._event(fact, context)) for fact in result.events]
        if reply is not None and self._channel(reply).traits.uses_outbox:
            postings.append(self._outbox_message(reply))
        if requests:
            await work.await_replies([self._pending_reply(r, after_s) for r, after_s in requests])
        if postings:
            await work.enqueue(postings)
        return direct

    def _channel(self, envelope: Envelope) -> Channel:
        return self._channels[envelope.coupling]

    def _goes_to_outbox(self, request: Envelope, delay_s: float) -> bool:
        return delay_s > 0 or self._channel(request).traits.uses_outbox

    def _outbox_message(self, envelope: Envelope, delay_s: float = 0.0) -> OutboxMessage:
        lane = self._channel(envelope).route(envelope)
        return OutboxMessage(envelope, lane, ordering_key(envelope), timedelta(seconds=delay_s))

    def _request_envelope(self, request: Request, context: MessageContext) -> Envelope:
        patience = timedelta(seconds=self._policies[request.flow].deadline_s + request.delay_s)
        envelope = Envelope(
            id=message_id(context.conversation_id, request.flow, request.key),
            kind=MessageKind.REQUEST,
            flow=request.flow,
            body=request.body,
            source=self._service,
            conversation_id=context.conversation_id,
            time=context.now,
            plan=context.plan,
            expires_at=context.now + patience,
            traceparent=trace.child_traceparent(context.traceparent),
        )
        return self._channel(envelope).addressed(envelope)

    def _event(self, event: Event, context: MessageContext) -> Envelope:
        name = EVENT_TYPE_BY_BODY[type(event.body)].name
        return Envelope(
            id=message_id(context.conversation_id, name, event.key),
            kind=MessageKind.EVENT,
            flow=name,
            body=event.body,
            source=self._service,
            conversation_id=context.conversation_id,
            time=context.now,
            plan=context.plan,
            traceparent=trace.child_traceparent(context.traceparent),
        )

    def _pending_reply(self, request: Envelope, delay_s: float) -> PendingReply:
        due = request.expires_at or request.time
        polls = self._channel(request).traits.polls
        return PendingReply(
            request, due, request.time + FIRST_POLL_DELAY + timedelta(seconds=delay_s) if polls else None
        )
