"""Deadlines and reply poller: every due request is settled, and a failure of one is logged and fails no other."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from prebook.contracts.message import Message, Unavailable
from prebook.contracts.notification import Notice, RiderNotified
from prebook.contracts.plan import Coupling
from prebook.flows import FLOWS, NOTIFY_RIDER
from prebook.messaging import deadlines
from prebook.messaging.clock import utc_now
from prebook.messaging.deadlines import MAX_BATCH_SIZE, Deadlines, ReplyPoller
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Unreachable
from prebook.messaging.gateway import MessagingGateway, create_gateway
from prebook.messaging.handlers import HandlerContext, HandlerResult, Handlers, HandlerSpec
from prebook.messaging.outbox.store import LOCAL_ROUTE
from prebook.messaging.policy import FlowPolicy
from prebook.messaging.unit_of_work import PendingReply, UnitsOfWork
from prebook.testing.memory import MemoryDatabase
from tests.conditions import wait_until
from tests.messaging.examples import NOW, request
from tests.messaging.fake_channel import FakeChannel, queued_channel

POLICIES = {flow: FlowPolicy(coupling=Coupling.ASYNC_API) for flow in FLOWS}
NOTIFIED = RiderNotified(notice=Notice.CONFIRMED)


class PolledChannel(FakeChannel):
    """Channel whose provider has replied, to all but the conversations ``late`` and ``unreachable``."""

    async def poll(self, request: Envelope) -> Envelope | None:
        if request.conversation_id == "unreachable":
            raise Unreachable("the provider is down")
        if request.conversation_id == "late":
            return None
        return request.reply_with(NOTIFIED, source="notification", at=NOW)


class Caller:
    """Service that awaits replies to ``notify_rider``; the handler fails for the conversation ``bad``."""

    def __init__(self, *, makes_requests: bool = True) -> None:
        self.handled = dict[str, Message]()
        self.database = MemoryDatabase(None)
        channels = dict.fromkeys(Coupling, PolledChannel(queued_channel().traits))
        handlers: Handlers[Any] = Handlers(on_reply={NOTIFY_RIDER: HandlerSpec(self._handle)} if makes_requests else {})
        units = UnitsOfWork.of_one(self.database.begin)
        self.gateway: MessagingGateway[Any] = create_gateway("booking", handlers, units, channels, POLICIES)
        self.loops = {
            "deadlines": Deadlines(self.database, self.gateway).run,
            "poller": ReplyPoller(self.database, self.gateway, channels).run,
        }

    async def await_replies(self, *conversations: str) -> None:
        """Record a request per conversation that is overdue, and due to be polled."""
        past = utc_now() - timedelta(seconds=1)
        async with self.database.begin() as work:
            await work.await_replies([PendingReply(request(name), past, past) for name in conversations])

    async def run_until(self, condition: Callable[[], bool], loop: str, timeout_s: float = 3.0) -> None:
        task = asyncio.create_task(self.loops[loop]())
        try:
            await wait_until(condition, timeout_s)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _handle(self, context: HandlerContext, reply: Message, _: Any) -> HandlerResult:
        if context.conversation_id == "bad":
            raise KeyError("a defect")
        self.handled[context.conversation_id] = reply
        return HandlerResult()


LOOPS = pytest.mark.parametrize(
    ("loop", "reply"),
    [("deadlines", Unavailable(reason="deadline")), ("poller", NOTIFIED)],
    ids=["deadlines", "poller"],
)


async def test_a_failure_is_logged_without_rider_data_and_fails_no_other() -> None:
    caller = Caller()
    await caller.await_replies("bad", "good")
    event = "pending request not settled"
    with capture_logs() as logs:
        await caller.run_until(lambda: event in [entry["event"] for entry in logs], "deadlines")

    ids = {"message_id": request("bad").id, "conversation_id": "bad"}
    expected = {**ids, "error": "KeyError: 'a defect'", "log_level": "error", "event": event}
    assert [entry for entry in logs if entry["event"] == event] == [expected]
    assert "rosa" not in str(logs)
    assert caller.handled == {"good": Unavailable(reason="deadline")}


async def test_a_polled_reply_that_fails_is_stored_with_its_next_attempt_and_polled_no_more() -> None:
    caller = Caller()
    await caller.await_replies("bad", "good")
    await caller.run_until(lambda: bool(caller.database.tables.outbox) and bool(caller.handled), "poller")

    (row,) = caller.database.tables.outbox.values()
    assert (row.message.route, row.message.envelope.attempt) == (LOCAL_ROUTE, 2)
    assert row.message.envelope.extra["prebook-x-error"] == "KeyError: 'a defect'"
    (pending,) = caller.database.tables.pending_replies.values()
    assert (pending.request.conversation_id, pending.poll_at) == ("bad", None), "the deadline stays"
    assert caller.handled == {"good": NOTIFIED}


async def test_a_poll_without_a_reply_is_no_failure() -> None:
    caller = Caller()
    await caller.await_replies("late", "unreachable", "good")
    with capture_logs() as logs:
        await caller.run_until(lambda: "good" in caller.handled, "poller")
    assert (caller.handled, logs) == ({"good": NOTIFIED}, [])


@LOOPS
async def test_more_requests_than_one_scan_takes_are_settled_without_a_pause(
    loop: str, reply: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "SCAN_INTERVAL_S", 60.0)
    caller = Caller()
    names = [str(number) for number in range(MAX_BATCH_SIZE + 1)]
    await caller.await_replies(*names)
    await caller.run_until(lambda: len(caller.handled) == len(names), loop)
    assert set(map(str, caller.handled.values())) == {str(reply)}


@LOOPS
async def test_a_service_that_makes_no_requests_does_not_scan(loop: str, reply: Message) -> None:
    caller = Caller(makes_requests=False)
    await caller.await_replies("good")
    with capture_logs() as logs, pytest.raises(AssertionError):
        await caller.run_until(lambda: bool(logs), loop, timeout_s=0.05)
    assert (caller.handled, len(caller.database.tables.pending_replies)) == ({}, 1), reply
