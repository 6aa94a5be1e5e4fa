"""The one door of a service. Every transport, in either direction, ends in ``Endpoint.receive``."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Generic, TypeVar

from prebook.contracts.message import Unavailable
from prebook.messaging.channel import Channels
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, MessageKind, request_key
from prebook.messaging.errors import NoHandler, Undeliverable, Unreachable
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.observer import MessagingObserver, NullObserver
from prebook.messaging.policy import Policies
from prebook.messaging.staging import MessageContext, Staging
from prebook.messaging.transaction_batcher import TransactionBatcher
from prebook.messaging.unit_of_work import BeginUnitOfWork, UnitOfWork

U = TypeVar("U", bound=UnitOfWork)


class Endpoint(Generic[U]):
    """Admits each message once, runs its handler, and commits state, inbox and outbox together."""

    def __init__(
        self,
        service: str,
        handlers: Handlers[U],
        begin: BeginUnitOfWork[U],
        channels: Channels,
        policies: Policies,
        *,
        observer: MessagingObserver | None = None,
        clock: Callable[[], datetime] = utc_now,
        begin_command: BeginUnitOfWork[U] | None = None,
    ) -> None:
        """``begin_command``: begins what no message caused, apart from the rest; ``begin`` where there is none."""
        self.service, self.channels, self.clock = service, channels, clock
        self._handlers, self._begin, self._begin_command = handlers.table(), begin, begin_command or begin
        self._staging = Staging(service, channels, policies)
        self._batcher: TransactionBatcher[U] = TransactionBatcher(begin, policies)
        self.observer = observer or NullObserver()

    async def receive(self, envelope: Envelope) -> Envelope | None:
        """Give the envelope its one effect.

        Returns the answer to a request where it is known, now or from before. Raises what the handler raises;
        then nothing has been committed and the message may be delivered again.
        """
        if envelope.kind is MessageKind.REQUEST and envelope.is_expired(self.clock()):
            self.observer.on_expired(envelope, "inbound")
            return None
        began = time.perf_counter()
        try:
            answer, direct = await self._process(envelope)
        except Exception as error:
            self.observer.on_handling_failed(envelope, error)
            raise
        if direct is None:
            self.observer.on_duplicate(envelope)
            return answer
        self.observer.on_handled(envelope, time.perf_counter() - began)
        await self._send_after_commit(answer, direct)
        return answer

    async def execute_command(self, context: MessageContext, command: Callable[[U], Awaitable[HandlerResult]]) -> None:
        """A step that no message caused: a rider's command. Returns once all inline answers are in."""
        async with self._begin_command() as work:
            direct = await self._staging.stage(context, await command(work), work)
        await self._send_after_commit(None, direct)

    async def run_in_transaction(self, change: Callable[[U], Awaitable[None]]) -> None:
        """Commit a change that is no step of a conversation."""
        async with self._begin() as work:
            await change(work)

    @property
    def makes_requests(self) -> bool:
        """Whether it asks others anything, and so has answers to wait for."""
        return any(kind is MessageKind.REPLY for kind, _ in self._handlers)

    async def find_reply(self, request_id: str) -> Envelope | None:
        """The answer to a request that came in before, if it is known."""
        async with self._begin() as work:
            return await work.find_reply(request_id)

    async def find_received_at(self, message_id: str) -> datetime | None:
        """When a message had its effect here; None where it had none that we remember."""
        async with self._begin() as work:
            return await work.find_received_at(message_id)

    async def dispatch(self, envelope: Envelope) -> None:
        """Send what the outbox holds. Raises Unreachable (try later) or Undeliverable (never)."""
        channel, began = self.channels[envelope.coupling], time.perf_counter()
        if envelope.kind is MessageKind.REPLY:
            await channel.reply(envelope)
        elif channel.traits.replies_inline and envelope.kind is MessageKind.REQUEST:
            return await self._send_and_receive(envelope)
        else:
            await channel.send(envelope)
        self.observer.on_sent(envelope, time.perf_counter() - began)
        return None

    def timeout_reply(self, request: Envelope, reason: str) -> Envelope:
        """The answer that stands in for the one that did not come."""
        return request.reply_with(Unavailable(reason=reason), source=self.service, at=self.clock())

    async def _process(self, envelope: Envelope) -> tuple[Envelope | None, Sequence[Envelope] | None]:
        """(answer, requests to be sent now); the second is None where the envelope was admitted before."""
        step = self._handler_of(envelope)
        context = HandlerContext(
            envelope.conversation_id, envelope.id, envelope.plan, self.clock(), request_key(envelope), envelope.time
        )
        found = await step.pre_transaction(context, envelope.body) if step.pre_transaction else envelope.body

        async def effect(work: U, new: bool) -> tuple[Envelope | None, Sequence[Envelope] | None]:
            if not new:
                return await self._find_stored_reply(envelope, work), None
            outcome = await step.handle(context, found, work)
            answer = await self._record_reply(envelope, outcome, work)
            thread = MessageContext(envelope.conversation_id, envelope.plan, envelope.traceparent, context.now)
            return answer, await self._staging.stage(thread, outcome, work, answer)

        return await self._batcher.run(envelope, effect)

    def _handler_of(self, envelope: Envelope) -> HandlerSpec[U]:
        try:
            return self._handlers[envelope.kind, envelope.flow]
        except KeyError:
            raise NoHandler(f"{self.service} has no handler for the {envelope.kind} {envelope.flow!r}") from None

    async def _find_stored_reply(self, envelope: Envelope, work: U) -> Envelope | None:
        return await work.find_reply(envelope.id) if envelope.kind is MessageKind.REQUEST else None

    async def _record_reply(self, envelope: Envelope, result: HandlerResult, work: U) -> Envelope | None:
        """Address what the step answered: to the request in hand, or to the one still owed an answer."""
        if result.reply is None:
            if envelope.kind is MessageKind.REQUEST:
                await work.record_request(envelope)
            return None
        question = (
            envelope if envelope.kind is MessageKind.REQUEST else await self._find_pending_request(envelope, work)
        )
        if question is None:
            return None
        answer = question.reply_with(result.reply, source=self.service, at=self.clock())
        await work.record_reply(answer)
        return answer

    async def _find_pending_request(self, envelope: Envelope, work: U) -> Envelope | None:
        served = [flow for kind, flow in self._handlers if kind is MessageKind.REQUEST]
        for flow in served:
            if question := await work.find_pending_request(flow, envelope.conversation_id):
                return question
        return None

    async def _send_after_commit(self, reply: Envelope | None, requests: Sequence[Envelope]) -> None:
        if reply is not None and not self.channels[reply.coupling].traits.uses_outbox:
            await self.channels[reply.coupling].reply(reply)
        if requests:
            async with asyncio.TaskGroup() as group:
                for request in requests:
                    group.create_task(self._send_and_receive(request))

    async def _send_and_receive(self, request: Envelope) -> None:
        """Ask and take the answer in. What goes wrong from here on is settled by the request's deadline."""
        began = time.perf_counter()
        try:
            answer = await self.channels[request.coupling].send(request)
            self.observer.on_sent(request, time.perf_counter() - began)
        except (Unreachable, Undeliverable) as failure:
            self.observer.on_send_failed(request, failure)
            answer = self.timeout_reply(request, getattr(failure, "reason", "refused"))
        if answer is not None:
            await self._receive_reply(answer)

    async def _receive_reply(self, reply: Envelope) -> None:
        try:
            await self.receive(reply)
        except Exception as error:  # noqa: BLE001 - told by receive; the deadline row answers in its place
            self.observer.on_send_failed(reply, error)
