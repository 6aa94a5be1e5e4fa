"""From what a step returned to envelopes in the outbox, answers expected, and requests to send at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prebook.contracts.plan import Plan
from prebook.flows import ANNOUNCED, FLOWS, Ask, Fact
from prebook.messaging.channel import Channel, Channels
from prebook.messaging.envelope import Envelope, Kind, message_id
from prebook.messaging.handlers import Outcome
from prebook.messaging.policy import Policies
from prebook.messaging.unit_of_work import Expectation, Posting, UnitOfWork
from prebook.patterns import trace

FIRST_POLL = timedelta(seconds=1)
"""How long a callback may take before the caller asks after its answer."""


@dataclass(frozen=True, slots=True)
class Thread:
    """What every message of one step has in common."""

    conversation: str
    plan: Plan
    traceparent: str
    now: datetime


def order_key(envelope: Envelope) -> str:
    """The conversation, or the message alone where its flow knows no order."""
    flow = FLOWS.get(envelope.flow)
    return envelope.id if flow is not None and not flow.ordered else envelope.conversation


class Staging:
    """Addresses and stages the messages of one step, inside its unit of work."""

    def __init__(self, service: str, channels: Channels, policies: Policies) -> None:
        self._service, self._channels, self._policies = service, channels, policies

    async def stage(
        self, thread: Thread, outcome: Outcome, work: UnitOfWork, answer: Envelope | None = None
    ) -> Sequence[Envelope]:
        """Into the outbox what may wait; requests that may not are returned, to be sent right after the commit."""
        requests = [(self._request(ask, thread), ask.after_s) for ask in outcome.asks]
        direct = [r for r, after_s in requests if not self._queued(r, after_s)]
        postings = [self._posting(r, after_s) for r, after_s in requests if self._queued(r, after_s)]
        postings += [self._posting(self._told(fact, thread)) for fact in outcome.facts]
        if answer is not None and self._channel(answer).traits.uses_outbox:
            postings.append(self._posting(answer))
        if requests:
            await work.expect([self._expectation(r, after_s) for r, after_s in requests])
        if postings:
            await work.post(postings)
        return direct

    def _channel(self, envelope: Envelope) -> Channel:
        return self._channels[envelope.coupling]

    def _queued(self, request: Envelope, after_s: float) -> bool:
        return after_s > 0 or self._channel(request).traits.uses_outbox

    def _posting(self, envelope: Envelope, after_s: float = 0.0) -> Posting:
        lane = self._channel(envelope).lane(envelope)
        return Posting(envelope, lane, order_key(envelope), timedelta(seconds=after_s))

    def _request(self, ask: Ask, thread: Thread) -> Envelope:
        patience = timedelta(seconds=self._policies[ask.flow].deadline_s + ask.after_s)
        request = Envelope(
            id=message_id(thread.conversation, ask.flow, ask.key),
            kind=Kind.REQUEST,
            flow=ask.flow,
            body=ask.request,
            source=self._service,
            conversation=thread.conversation,
            time=thread.now,
            plan=thread.plan,
            expires_at=thread.now + patience,
            traceparent=trace.child(thread.traceparent),
        )
        return self._channel(request).stamped(request)

    def _told(self, fact: Fact, thread: Thread) -> Envelope:
        name = ANNOUNCED[type(fact.body)].name
        return Envelope(
            id=message_id(thread.conversation, name, fact.key),
            kind=Kind.FACT,
            flow=name,
            body=fact.body,
            source=self._service,
            conversation=thread.conversation,
            time=thread.now,
            plan=thread.plan,
            traceparent=trace.child(thread.traceparent),
        )

    def _expectation(self, request: Envelope, after_s: float) -> Expectation:
        due = request.expires_at or request.time
        polls = self._channel(request).traits.polls
        return Expectation(request, due, request.time + FIRST_POLL + timedelta(seconds=after_s) if polls else None)
