"""The one door of a service. Every transport, in either direction, ends in ``Endpoint.receive``."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from prebook.contracts.message import Unavailable
from prebook.messaging.channel import Channels, Undeliverable, Unreachable
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, Kind, key_of
from prebook.messaging.errors import Permanent
from prebook.messaging.handlers import Context, Handlers, Outcome, Step
from prebook.messaging.observer import Unwatched, Watch
from prebook.messaging.policy import Policies
from prebook.messaging.staging import Staging, Thread
from prebook.messaging.transaction_batcher import Transactions
from prebook.messaging.unit_of_work import Begin, UnitOfWork

U = TypeVar("U", bound=UnitOfWork)


class NoHandler(Permanent):
    """A message reached a service that has no handler for it: the topology and the handler table disagree."""

    cause = "no_handler"


class Endpoint(Generic[U]):
    """Admits each message once, runs its handler, and commits state, inbox and outbox together."""

    def __init__(
        self,
        service: str,
        handlers: Handlers[U],
        begin: Begin[U],
        channels: Channels,
        policies: Policies,
        *,
        watch: Watch | None = None,
        clock: Callable[[], datetime] = utc_now,
        at_edge: Begin[U] | None = None,
    ) -> None:
        """``at_edge``: begins what no message caused, apart from the rest; ``begin`` where there is none."""
        self.service, self.channels, self.clock = service, channels, clock
        self._steps, self._begin, self._at_edge = handlers.table(), begin, at_edge or begin
        self._staging = Staging(service, channels, policies)
        self._transactions: Transactions[U] = Transactions(begin, policies)
        self.watch = watch or Unwatched()

    async def receive(self, envelope: Envelope) -> Envelope | None:
        """Give the envelope its one effect.

        Returns the answer to a request where it is known, now or from before. Raises what the handler raises;
        then nothing has been committed and the message may be delivered again.
        """
        if envelope.kind is Kind.REQUEST and envelope.expired(self.clock()):
            self.watch.expired(envelope, "door")
            return None
        began = time.perf_counter()
        try:
            answer, direct = await self._effect(envelope)
        except Exception as error:
            self.watch.failed(envelope, error)
            raise
        if direct is None:
            self.watch.duplicate(envelope)
            return answer
        self.watch.handled(envelope, time.perf_counter() - began)
        await self._after_commit(answer, direct)
        return answer

    async def act(self, thread: Thread, step: Callable[[U], Awaitable[Outcome]]) -> None:
        """A step that no message caused: a rider's command. Returns once all inline answers are in."""
        async with self._at_edge() as work:
            direct = await self._staging.stage(thread, await step(work), work)
        await self._after_commit(None, direct)

    async def write(self, change: Callable[[U], Awaitable[None]]) -> None:
        """Commit a change that is no step of a conversation."""
        async with self._begin() as work:
            await change(work)

    @property
    def asks(self) -> bool:
        """Whether it asks others anything, and so has answers to wait for."""
        return any(kind is Kind.ANSWER for kind, _ in self._steps)

    async def stored_answer(self, request_id: str) -> Envelope | None:
        """The answer to a request that came in before, if it is known."""
        async with self._begin() as work:
            return await work.answer_to(request_id)

    async def admitted_at(self, message_id: str) -> datetime | None:
        """When a message had its effect here; None where it had none that we remember."""
        async with self._begin() as work:
            return await work.admitted_at(message_id)

    async def dispatch(self, envelope: Envelope) -> None:
        """Send what the outbox holds. Raises Unreachable (try later) or Undeliverable (never)."""
        channel, began = self.channels[envelope.coupling], time.perf_counter()
        if envelope.kind is Kind.ANSWER:
            await channel.reply(envelope)
        elif channel.traits.answers_inline and envelope.kind is Kind.REQUEST:
            return await self._deliver(envelope)
        else:
            await channel.send(envelope)
        self.watch.sent(envelope, time.perf_counter() - began)
        return None

    def silence(self, request: Envelope, reason: str) -> Envelope:
        """The answer that stands in for the one that did not come."""
        return request.answered(Unavailable(reason=reason), source=self.service, at=self.clock())

    async def _effect(self, envelope: Envelope) -> tuple[Envelope | None, Sequence[Envelope] | None]:
        """(answer, requests to be sent now); the second is None where the envelope was admitted before."""
        step = self._step(envelope)
        context = Context(
            envelope.conversation, envelope.id, envelope.plan, self.clock(), key_of(envelope), envelope.time
        )
        found = await step.consult(context, envelope.body) if step.consult else envelope.body

        async def effect(work: U, new: bool) -> tuple[Envelope | None, Sequence[Envelope] | None]:
            if not new:
                return await self._known_answer(envelope, work), None
            outcome = await step.handle(context, found, work)
            answer = await self._answer(envelope, outcome, work)
            thread = Thread(envelope.conversation, envelope.plan, envelope.traceparent, context.now)
            return answer, await self._staging.stage(thread, outcome, work, answer)

        return await self._transactions.run(envelope, effect)

    def _step(self, envelope: Envelope) -> Step[U]:
        try:
            return self._steps[envelope.kind, envelope.flow]
        except KeyError:
            raise NoHandler(f"{self.service} has no handler for the {envelope.kind} {envelope.flow!r}") from None

    async def _known_answer(self, envelope: Envelope, work: U) -> Envelope | None:
        return await work.answer_to(envelope.id) if envelope.kind is Kind.REQUEST else None

    async def _answer(self, envelope: Envelope, outcome: Outcome, work: U) -> Envelope | None:
        """Address what the step answered: to the request in hand, or to the one still owed an answer."""
        if outcome.answer is None:
            if envelope.kind is Kind.REQUEST:
                await work.owe(envelope)
            return None
        question = envelope if envelope.kind is Kind.REQUEST else await self._owed(envelope, work)
        if question is None:
            return None
        answer = question.answered(outcome.answer, source=self.service, at=self.clock())
        await work.answered(answer)
        return answer

    async def _owed(self, envelope: Envelope, work: U) -> Envelope | None:
        served = [flow for kind, flow in self._steps if kind is Kind.REQUEST]
        for flow in served:
            if question := await work.question(flow, envelope.conversation):
                return question
        return None

    async def _after_commit(self, answer: Envelope | None, direct: Sequence[Envelope]) -> None:
        if answer is not None and not self.channels[answer.coupling].traits.uses_outbox:
            await self.channels[answer.coupling].reply(answer)
        if direct:
            async with asyncio.TaskGroup() as group:
                for request in direct:
                    group.create_task(self._deliver(request))

    async def _deliver(self, request: Envelope) -> None:
        """Ask and take the answer in. What goes wrong from here on is settled by the request's deadline."""
        began = time.perf_counter()
        try:
            answer = await self.channels[request.coupling].send(request)
            self.watch.sent(request, time.perf_counter() - began)
        except (Unreachable, Undeliverable) as failure:
            self.watch.unsent(request, failure)
            answer = self.silence(request, getattr(failure, "reason", "refused"))
        if answer is not None:
            await self._take(answer)

    async def _take(self, answer: Envelope) -> None:
        try:
            await self.receive(answer)
        except Exception as error:  # noqa: BLE001 - told by receive; the deadline row answers in its place
            self.watch.unsent(answer, error)
