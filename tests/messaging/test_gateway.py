"""MessagingGateway: inline exchanges and what follows from them, local rows, and failures after the commit."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from prebook.contracts.matching import FindDriver, NoDriverFound
from prebook.contracts.message import Message, Unavailable
from prebook.contracts.notification import Notice, NotifyRider, RiderNotified
from prebook.contracts.plan import Coupling
from prebook.flows import FIND_DRIVER, FLOWS, NOTIFY_RIDER
from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope, request_key
from prebook.messaging.errors import TransactionConflict, Undeliverable, Unreachable
from prebook.messaging.gateway import MessagingGateway, create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.headers import REPEATED_HEADER
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.store import LOCAL_ROUTE, LeasedRow
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.staging import INLINE_RECOVERY_S, MessageContext
from prebook.messaging.transaction_batcher import MAX_CONFLICTS
from prebook.messaging.unit_of_work import UnitsOfWork
from prebook.patterns.trace import NO_TRACE
from prebook.testing.memory import MemoryDatabase
from tests.conditions import wait_until
from tests.messaging.examples import NOW, request
from tests.messaging.fake_channel import FakeChannel, inline_channel, queued_channel

PLAN = dict.fromkeys(FLOWS, Coupling.SYNC_API)
POLICIES = {flow: FlowPolicy(coupling=Coupling.SYNC_API) for flow in FLOWS}
CONTEXT = MessageContext("b1", PLAN, trace=NO_TRACE, now=utc_now())
HOPS = 1_000
"""Length of a chain of exchanges: more than a call stack holds."""
TIMEOUT_S = 5.0
NO_DRIVER = NoDriverFound(fleets_asked=2, reason="none is free")
Step = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Notify:
    """Command that requests one notification per key."""

    keys: Sequence[str]


@dataclass
class ScriptedChannel(FakeChannel):
    """Records what passes; runs the step of a request's key before it replies, and ``reply_step`` before a reply."""

    def __post_init__(self) -> None:
        self.sent = list[str]()
        self.replied = list[str]()
        self.sent_replies = list[Envelope]()
        self.steps: Mapping[str, Step] = {}
        self.reply_step: Step | None = None

    async def send(self, envelope: Envelope) -> Envelope | None:
        self.sent.append(request_key(envelope))
        if step := self.steps.get(self.sent[-1]):
            await step()
        body = self.replies.get(envelope.flow)
        return envelope.reply_with(body, source="notification", at=NOW) if body else None

    async def reply(self, reply: Envelope) -> None:
        if self.reply_step:
            await self.reply_step()
        self.replied.append(reply.id)
        self.sent_replies.append(reply)


class Recorder(NullObserver):
    """Records the ids of sent messages, and every failure that is reported, by stage and key of the message."""

    def __init__(self) -> None:
        self.sent = list[str]()
        self.failures = list[tuple[str, str]]()

    def on_sent(self, envelope: Envelope, seconds: float) -> None:
        self.sent.append(envelope.id)

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        self.failures.append(("send", request_key(envelope)))

    def on_handling_failed(self, envelope: Envelope, error: Exception) -> None:
        self.failures.append(("handle", request_key(envelope)))


class Service:
    """Caller of ``notify_rider`` and provider of ``find_driver``.

    ``follow_ups``: keys of the notifications to request after the reply to one. ``on_reply``: steps of the handler of a
    reply. A driver is replied to after the notification ``found``, or at once if ``replies_at_once``.
    """

    def __init__(self, follow_ups: Mapping[str, Sequence[str]] | None = None) -> None:
        self.follow_ups = follow_ups or {}
        self.on_reply: Mapping[str, Callable[[], object]] = {}
        self.replies = dict[str, Message]()
        self.replies_at_once = False
        self.database = MemoryDatabase(None)
        self.channel = ScriptedChannel(inline_channel().traits)
        self.queued = ScriptedChannel(queued_channel().traits)
        self.observer = Recorder()
        handlers: Handlers[Any] = Handlers(
            on_command={Notify: HandlerSpec(self._start)},
            on_request={FIND_DRIVER: HandlerSpec(self._find_driver)},
            on_reply={NOTIFY_RIDER: HandlerSpec(self._continue)},
        )
        channels = {**dict.fromkeys(Coupling, self.channel), Coupling.ONE_WAY: self.queued}
        self.gateway: MessagingGateway[Any] = create_gateway(
            "matching", handlers, UnitsOfWork.of_one(self.database.begin), channels, POLICIES, observer=self.observer
        )

    async def execute(self, *keys: str) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.gateway.execute(Notify(keys), CONTEXT)

    async def process(self, envelope: Envelope) -> Envelope | None:
        async with asyncio.timeout(TIMEOUT_S):
            return await self.gateway.process(envelope)

    @property
    def awaited(self) -> list[str]:
        """Keys of the requests that a deadline will settle."""
        return [request_key(pending.request) for pending in self.database.tables.pending_replies.values()]

    async def _start(self, _: HandlerContext, command: Notify, __: Any) -> HandlerResult:
        return notifications(command.keys)

    async def _find_driver(self, _: HandlerContext, __: FindDriver, ___: Any) -> HandlerResult:
        return HandlerResult(reply=NO_DRIVER) if self.replies_at_once else notifications(["found", "other"])

    async def _continue(self, context: HandlerContext, reply: Message, _: Any) -> HandlerResult:
        if step := self.on_reply.get(context.request_key):
            step()
        self.replies[context.request_key] = reply
        if context.request_key == "found":
            return HandlerResult(reply=NO_DRIVER)
        return notifications(self.follow_ups.get(context.request_key, ()))


def notifications(keys: Sequence[str]) -> HandlerResult:
    body = NotifyRider(rider_id="rosa", notice=Notice.CONFIRMED, text="see you at eight")
    return HandlerResult(requests=tuple(NOTIFY_RIDER.new_request(body, key=key) for key in keys))


def find_driver() -> Envelope:
    """Request for a driver, whose reply comes from the exchange ``found``."""
    return request(id="b1.find_driver", flow="find_driver", plan=PLAN, body=RiderNotified(notice=Notice.CONFIRMED))


def fail_unexpectedly() -> None:
    raise KeyError("a defect")


async def fail_unexpectedly_later() -> None:
    fail_unexpectedly()


async def test_a_command_whose_transaction_conflicts_is_repeated_at_once() -> None:
    service = Service()
    conflicts = [TransactionConflict("deadlock detected")] * MAX_CONFLICTS
    begin = service.database.begin

    @asynccontextmanager
    async def begin_with_conflicts() -> AsyncIterator[Any]:
        async with begin() as work:
            yield work
            if conflicts:
                raise conflicts.pop()

    service.gateway._begin = begin_with_conflicts
    await service.execute("one")
    assert service.channel.sent == ["one"]
    conflicts += [TransactionConflict("deadlock detected")] * (MAX_CONFLICTS + 1)
    with pytest.raises(TransactionConflict):
        await service.execute("two")
    assert service.channel.sent == ["one"]


async def test_a_long_chain_of_exchanges_holds_one_task_at_a_time() -> None:
    keys = [str(number) for number in range(HOPS)]
    service = Service({key: [following] for key, following in pairwise(keys)})
    tasks = set[int]()

    async def count_tasks() -> None:
        tasks.add(len(asyncio.all_tasks()))

    service.channel.steps = dict.fromkeys(keys, count_tasks)
    await service.execute(keys[0])

    assert service.channel.sent == list(service.replies) == keys
    assert max(tasks) <= min(tasks) + 1, "the exchange, and at times the transaction of the one before"
    assert not service.awaited


async def test_a_follow_up_does_not_wait_for_slower_exchanges_and_the_caller_waits_for_all() -> None:
    service = Service({"fast": ["next"]})
    next_sent = asyncio.Event()

    async def report() -> None:
        next_sent.set()

    service.channel.steps = {"slow": next_sent.wait, "next": report}
    await service.execute("slow", "fast")

    assert service.channel.sent == ["slow", "fast", "next"]
    assert set(service.replies) == {"slow", "fast", "next"}


@pytest.mark.parametrize(
    ("failure", "reason"), [(Unreachable("", reason="circuit_open"), "circuit_open"), (Undeliverable(""), "refused")]
)
async def test_a_request_that_cannot_be_sent_gets_a_timeout_reply(failure: Exception, reason: str) -> None:
    service = Service()

    async def refuse() -> None:
        raise failure

    service.channel.steps = {"bad": refuse}
    await service.execute("good", "bad")

    notified = RiderNotified(notice=Notice.CONFIRMED)
    assert service.replies == {"good": notified, "bad": Unavailable(reason=reason)}
    assert service.observer.failures == [("send", "bad")]


async def test_a_request_without_a_reply_is_left_to_its_deadline() -> None:
    service = Service()
    service.channel.replies = {}
    await service.execute("unanswered")
    assert (service.replies, service.awaited, service.observer.failures) == ({}, ["unanswered"], [])


async def test_an_inline_call_of_a_process_that_died_ends_soon_after_its_timeout() -> None:
    """Nobody waits for such a reply any longer, so it is not left to a deadline of minutes."""
    service = Service()
    service.channel.replies = {}
    await service.execute("unanswered")
    (pending,) = service.database.tables.pending_replies.values()
    policy = POLICIES["notify_rider"]
    assert pending.due_at - CONTEXT.now == timedelta(seconds=policy.timeout_s + INLINE_RECOVERY_S)
    assert pending.request.expires_at == CONTEXT.now + timedelta(seconds=policy.deadline_s)


@pytest.mark.parametrize("stage", ["send", "handle"])
async def test_an_unexpected_error_is_reported_once_and_left_to_the_deadline(stage: str) -> None:
    """The command is committed by then: its caller gets no error, and the other exchanges continue."""
    service = Service({"good": ["next"]})
    bad_ended = asyncio.Event()

    async def fail_in_send() -> None:
        bad_ended.set()
        if stage == "send":
            fail_unexpectedly()

    async def wait_beyond_the_failure() -> None:
        await bad_ended.wait()
        await asyncio.sleep(0.05)

    service.on_reply = {"bad": fail_unexpectedly} if stage == "handle" else {}
    service.channel.steps = {"bad": fail_in_send, "good": wait_beyond_the_failure}
    await service.execute("good", "bad")

    assert set(service.replies) == {"good", "next"}
    assert service.awaited == ["bad"]
    assert service.observer.failures == [(stage, "bad")]


async def test_an_unexpected_error_while_a_reply_is_handed_over_ends_no_other_exchange() -> None:
    service = Service({"other": ["next"]})
    handing_over = asyncio.Event()

    async def fail_to_reply() -> None:
        handing_over.set()
        fail_unexpectedly()

    async def wait_beyond_the_failure() -> None:
        await handing_over.wait()
        await asyncio.sleep(0.05)

    service.channel.reply_step = fail_to_reply
    service.channel.steps = {"other": wait_beyond_the_failure}
    assert await service.process(find_driver()) is None

    assert set(service.replies) == {"found", "other", "next"}
    assert list(service.database.tables.replies) == ["b1.find_driver"], "a repeated request gets the reply"
    assert service.observer.failures == [("send", "found")]


async def test_cancelling_the_caller_ends_its_exchanges() -> None:
    service = Service()
    others = asyncio.all_tasks()
    ended = list[str]()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # an exchange may await on its way out
            ended.append("hanging")

    service.channel.steps = {"one": hang, "two": hang}
    task = asyncio.create_task(service.execute("one", "two"))
    await wait_until(lambda: len(service.channel.sent) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == ["hanging", "hanging"]
    assert asyncio.all_tasks() == others
    assert (service.awaited, service.observer.failures) == (["one", "two"], [])


async def test_the_cancellation_of_an_exchange_reaches_the_caller() -> None:
    service = Service()

    async def be_cancelled() -> None:
        raise asyncio.CancelledError

    service.channel.steps = {"cancelled": be_cancelled, "hanging": asyncio.Event().wait}
    with pytest.raises(asyncio.CancelledError):
        await service.execute("hanging", "cancelled")
    assert service.observer.failures == []


async def test_a_duplicate_request_gets_the_stored_reply_and_nothing_is_sent_again() -> None:
    service = Service()
    assert await service.process(find_driver()) is None, "the reply follows from an exchange"
    assert (service.channel.sent, service.channel.replied) == (["found", "other"], ["b1.find_driver.reply"])

    stored = await service.process(find_driver())
    assert stored is not None
    assert stored.body == NO_DRIVER
    assert (service.channel.sent, service.channel.replied) == (["found", "other"], ["b1.find_driver.reply"])


async def test_a_reply_at_once_is_returned_and_handed_to_the_inline_channel() -> None:
    service = Service()
    service.replies_at_once = True
    reply = await service.process(find_driver())
    assert reply is not None
    assert (reply.body, service.channel.replied) == (NO_DRIVER, [reply.id])


async def test_a_row_of_the_local_route_is_handled_by_the_service_itself() -> None:
    service = Service()
    await service.gateway.dispatch(row(find_driver(), LOCAL_ROUTE))
    assert "b1.find_driver" in service.database.tables.inbox
    assert service.channel.sent == ["found", "other"]
    assert service.channel.replied == ["b1.find_driver.reply"]


async def test_a_delayed_inline_request_is_completed_from_the_outbox() -> None:
    service = Service({"": ["next"]})
    await service.gateway.dispatch(row(request(id="b1.notify_rider", plan=PLAN), "call:notification"))
    assert list(service.replies) == ["", "next"]
    assert service.observer.sent == ["b1.notify_rider", "b1.notify_rider.next"]


async def test_other_rows_leave_by_the_channel_of_their_coupling() -> None:
    service = Service()
    queued = request()
    await service.gateway.dispatch(row(queued, "broker"))
    reply = queued.reply_with(RiderNotified(notice=Notice.CONFIRMED), source="notification", at=NOW)
    await service.gateway.dispatch(row(reply, "broker"))
    assert (service.queued.sent, service.queued.replied) == (["confirmed"], [reply.id])
    assert service.observer.sent == [queued.id, reply.id]
    assert service.replies == {}


@pytest.mark.parametrize("failures", [0, 2])
async def test_a_callback_that_was_sent_before_says_so(failures: int) -> None:
    """A process that ended while it handled the first one must store the next."""
    service = Service()
    service.queued.traits = replace(service.queued.traits, polls=True)
    reply = request().reply_with(RiderNotified(notice=Notice.CONFIRMED), source="notification", at=NOW)
    await service.gateway.dispatch(replace(row(reply, "http:booking"), failures=failures))
    (sent,) = service.queued.sent_replies
    assert sent.extra.get(REPEATED_HEADER) == (str(failures) if failures else None)


async def test_a_row_that_cannot_be_sent_raises_for_the_relay() -> None:
    service = Service()
    service.queued.steps = {"confirmed": fail_unexpectedly_later}
    with pytest.raises(KeyError):
        await service.gateway.dispatch(row(request(), "broker"))


def row(envelope: Envelope, route: str) -> LeasedRow:
    return LeasedRow(1, route, envelope, 0, envelope.conversation_id)
