"""Defects of messaging, in every service."""

import asyncio
from dataclasses import replace as copy
from datetime import timedelta
from typing import Any

from prebook.coupling.inbound import InboundGateway
from prebook.messaging.codec import decode
from prebook.messaging.endpoint import Endpoint
from prebook.messaging.envelope import Envelope, MessageKind
from prebook.messaging.errors import PermanentFailure, Unreachable
from prebook.messaging.gateway import MessagingGateway
from prebook.messaging.outbox.sender import Batch, Sender
from prebook.messaging.outbox.store import LeasedRow, OutboxState
from prebook.messaging.staging import Staging
from prebook.messaging.unit_of_work import PendingReply
from prebook.postgres.inbox import RECORD_MESSAGE
from prebook.postgres.unit_of_work import SqlUnitOfWork
from prebook.rabbit.amqp_message import from_amqp
from prebook.rabbit.amqp_publisher.unconfirmed import PendingConfirm, UnconfirmedMessages
from prebook.rabbit.consumer import RabbitConsumer
from tests.mutations.seeding import is_chosen, replace

DROPPED_SHARE = 0.05
SHARE = 0.1
FAILURE_SHARE = 0.2
BROKER_COUPLINGS = frozenset({"one_way", "request_reply"})
SENT = "sent"
EARLY = "early"
"""Salts of the choices that two replaced functions share."""
CHEATED_DEADLINE = timedelta(seconds=0.05)


class _SeededFailure(Exception):
    """A failure of a handler that would succeed when it is tried again."""


class _PermanentSeededFailure(PermanentFailure):
    """The same failure, taken for one that never passes."""

    cause = "seeded"


def first_attempts_fail(error: type[Exception] = _SeededFailure) -> None:
    """Fail the first attempt at some messages after their handler, before the commit. No defect by itself."""
    failed = set[str]()

    def make(record_outcome: Any) -> Any:
        async def fail_first(self: Any, envelope: Envelope, *arguments: Any) -> Any:
            if (
                envelope.coupling in BROKER_COUPLINGS
                and is_chosen(envelope.id, FAILURE_SHARE)
                and envelope.id not in failed
            ):
                failed.add(envelope.id)
                raise error(f"the first attempt at {envelope.id} fails")
            return await record_outcome(self, envelope, *arguments)

        return fail_first

    replace(Endpoint, "_record_outcome", make)


def dropped_after_acknowledgement() -> None:
    """Acknowledge some messages of the broker without handling them."""

    def make(handle: Any) -> Any:
        async def drop_some(self: Any, queue: str, message: Any, envelope: Envelope, attempt: Any) -> Any:
            if is_chosen(envelope.id, DROPPED_SHARE):
                return None
            return await handle(self, queue, message, envelope, attempt)

        return drop_some

    replace(RabbitConsumer, "_handle_through_circuit", make)


def acknowledged_before_commit() -> None:
    """Acknowledge a message before its transaction, which may fail."""
    first_attempts_fail()

    async def acknowledge_first(self: Any, _: str, message: Any) -> None:
        await message.ack()
        await self._try_handle(decode(from_amqp(message)))

    replace(RabbitConsumer, "_settle", lambda _: acknowledge_first)


def confirms_not_awaited() -> None:
    """Take a message for published as soon as it is written to the connection."""

    def confirm_at_once(self: Any, pending: PendingConfirm) -> None:
        self._tag += 1
        pending.future.set_result(None)

    replace(UnconfirmedMessages, "add", lambda _: confirm_at_once)


def no_inbox() -> None:
    """Handle every delivery as if it were the first."""

    async def record_one(_: Any, __: Envelope) -> bool:
        return True

    async def record_many(_: Any, envelopes: Any) -> list[str]:
        return [envelope.id for envelope in envelopes]

    replace(SqlUnitOfWork, "record_message", lambda _: record_one)
    replace(SqlUnitOfWork, "record_messages", lambda _: record_many)


def inbox_without_effect() -> None:
    """Commit the inbox apart from the effect, whose transaction may fail."""
    first_attempts_fail()

    async def record_apart(self: Any, envelope: Envelope) -> bool:
        row = {"id": envelope.id, "flow": envelope.flow, "conversation_id": envelope.conversation_id}
        async with self.connection.engine.begin() as apart:
            return bool((await apart.execute(RECORD_MESSAGE, row)).scalar())

    async def record_many(self: Any, envelopes: Any) -> list[str]:
        return [envelope.id for envelope in envelopes if await self.record_message(envelope)]

    replace(SqlUnitOfWork, "record_message", lambda _: record_apart)
    replace(SqlUnitOfWork, "record_messages", lambda _: record_many)


def accepted_request_dropped() -> None:
    """Accept some requests of ``async_api`` with 202 and store none of them."""

    def make(accept: Any) -> Any:
        async def accept_some(self: Any, request: Envelope) -> None:
            if not is_chosen(request.id, SHARE):
                await accept(self, request)

        return accept_some

    replace(InboundGateway, "accept", make)


def order_swapped() -> None:
    """Send the messages of one transaction and key in reverse order."""

    def make(start_batch: Any) -> Any:
        def start_reversed(self: Any, batch: Batch) -> None:
            batch.rows = batch.rows[::-1]
            start_batch(self, batch)

        return start_reversed

    replace(Sender, "start_batch", make)


def _drop_sent(kind: MessageKind, share: float) -> None:
    def make(dispatch: Any) -> Any:
        async def dispatch_some(self: Any, row: LeasedRow) -> None:
            if row.envelope.kind is not kind or not is_chosen(row.envelope.id, share, SENT):
                await dispatch(self, row)

        return dispatch_some

    replace(MessagingGateway, "dispatch", make)


def request_lost() -> None:
    """Mark some requests as sent without sending them."""
    _drop_sent(MessageKind.REQUEST, SHARE)


def reply_lost() -> None:
    """Mark some replies as sent without sending them."""
    _drop_sent(MessageKind.REPLY, SHARE)


def event_lost() -> None:
    """Mark some events as sent without sending them."""
    _drop_sent(MessageKind.EVENT, SHARE)


def stuck_without_deadline() -> None:
    """Lose some requests, and record no deadline for them."""
    _drop_sent(MessageKind.REQUEST, SHARE)

    def make(await_replies: Any) -> Any:
        async def await_some(self: Any, pending_replies: list[PendingReply]) -> None:
            await await_replies(self, [p for p in pending_replies if not is_chosen(p.request.id, SHARE, SENT)])

        return await_some

    replace(SqlUnitOfWork, "await_replies", make)


def deadline_too_early() -> None:
    """End the wait for some replies at once."""

    def make(pending_reply: Any) -> Any:
        def hurry_some(self: Any, request: Envelope, delay_s: float) -> PendingReply:
            pending: PendingReply = pending_reply(self, request, delay_s)
            return (
                copy(pending, due_at=request.time + CHEATED_DEADLINE)
                if is_chosen(request.id, SHARE, EARLY)
                else pending
            )

        return hurry_some

    def make_slow(dispatch: Any) -> Any:
        async def dispatch_slowly(self: Any, row: LeasedRow) -> None:
            if row.envelope.kind is MessageKind.REPLY and is_chosen(
                row.envelope.id.removesuffix(".reply"), SHARE, EARLY
            ):
                await asyncio.sleep(1.0)
            await dispatch(self, row)

        return dispatch_slowly

    replace(Staging, "_pending_reply", make)
    replace(MessagingGateway, "dispatch", make_slow)


def abandoned_at_first_failure() -> None:
    """Give up a message of the outbox at its first failure, and let some of them fail."""
    failed = set[str]()

    def make(dispatch: Any) -> Any:
        async def fail_first(self: Any, row: LeasedRow) -> None:
            if is_chosen(row.envelope.id, SHARE) and row.envelope.id not in failed:
                failed.add(row.envelope.id)
                raise Unreachable("the first attempt fails")
            await dispatch(self, row)

        return fail_first

    async def abandon(self: Any, row: LeasedRow, failure: Exception) -> None:
        await self._outbox.abandon(row, OutboxState.UNDELIVERABLE, "failed", str(failure))

    replace(MessagingGateway, "dispatch", make)
    replace(Sender, "_handle_failure", lambda _: abandon)


def parked_at_first_failure() -> None:
    """Take a passing failure for a permanent one."""
    first_attempts_fail(_PermanentSeededFailure)
