"""Relay: what it sends, in which order, and what happens to rows that cannot be sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.observer import MessagingObserver, NullObserver
from prebook.messaging.outbox import relay as relay_module
from prebook.messaging.outbox import sender, sent_marker
from prebook.messaging.outbox.abandonment import MAX_NACKS, MAX_REFUSALS, NACKED, abandon_reason
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.sender import MAX_IN_FLIGHT
from prebook.messaging.outbox.store import LeasedRow, OutboxState
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.runtime.loops import run_forever
from prebook.testing.memory import MemoryDatabase
from tests.conditions import wait_until
from tests.leftovers import tasks_and_timers
from tests.messaging.examples import ExpiryRecorder, request


async def enqueue(
    database: MemoryDatabase, *ids: str, route: str = "broker", expired: bool = False, key: str = ""
) -> None:
    """Enqueue requests with these ids, each under its own ordering key unless ``key`` is given."""
    now = utc_now()
    expires = now + timedelta(seconds=-1 if expired else 60)
    async with database.begin() as work:
        await work.enqueue([OutboxMessage(request(id=name, expires_at=expires), route, key or name) for name in ids])


@asynccontextmanager
async def running(
    database: MemoryDatabase,
    send: Callable[[LeasedRow], Awaitable[None]],
    max_refusals: int = 3,
    observer: MessagingObserver | None = None,
) -> AsyncIterator[Relay]:
    relay = Relay(database, observer or NullObserver(), max_refusals=max_refusals)
    task = asyncio.create_task(run_forever("relay", lambda: relay.run(send)))
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def wake_until_all(relay: Relay, database: MemoryDatabase, state: str) -> None:
    """Wake the relay until all rows are in ``state``; a row that failed often is retried after 2 s."""

    def reached() -> bool:
        relay.wake()
        return set(states(database).values()) == {state}

    await wait_until(reached, timeout_s=12.0)


def states(database: MemoryDatabase) -> dict[str, str]:
    return {name: row.state for name, row in database.tables.outbox.items()}


async def test_committed_rows_are_sent_in_order() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    await enqueue(database, *(f"m{n}" for n in range(50)))
    async with running(database, send):
        await wait_until(lambda: set(states(database).values()) == {"sent"})

    assert sent == [f"m{n}" for n in range(50)]


async def test_a_wake_up_is_faster_than_the_poll() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    async with running(database, send) as relay:
        await asyncio.sleep(0.05)
        await enqueue(database, "m1")
        relay.wake()
        await wait_until(lambda: sent == ["m1"], timeout_s=0.2)


async def test_a_row_is_retried_until_it_is_sent() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) < 3:
            raise Unreachable("not yet")

    await enqueue(database, "m1")
    async with running(database, send) as relay:
        await wake_until_all(relay, database, "sent")

    assert sent == ["m1"] * 3
    assert database.tables.outbox["m1"].failures == 2


async def test_a_refused_row_is_abandoned_as_undeliverable() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        raise Undeliverable("routes to no queue")

    await enqueue(database, "m1")
    async with running(database, send, max_refusals=3) as relay:
        await wake_until_all(relay, database, "undeliverable")

    assert database.tables.outbox["m1"].error == "Undeliverable: routes to no queue"
    assert len(sent) == 3


async def test_a_starting_broker_is_given_time_to_restore_its_queues() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) < 3:
            raise Undeliverable("routes to no queue")

    await enqueue(database, "m1")
    async with running(database, send, max_refusals=4) as relay:
        await wake_until_all(relay, database, "sent")


async def test_an_expired_row_is_not_sent() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    await enqueue(database, "m1", expired=True)
    observer = ExpiryRecorder()
    async with running(database, send, observer=observer):
        await wait_until(lambda: states(database) == {"m1": "expired"})

    assert (sent, observer.expirations) == ([], [("m1", "outbox")])


async def test_a_hanging_route_does_not_block_another() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()
    never = asyncio.Event()

    async def send(row: LeasedRow) -> None:
        if row.route == "http:pricing":
            await never.wait()
        sent.append(row.envelope.id)

    await enqueue(database, *(f"slow{n}" for n in range(MAX_IN_FLIGHT)), route="http:pricing")
    async with running(database, send) as relay:
        await asyncio.sleep(0.05)
        await enqueue(database, "quick")
        relay.wake()
        await wait_until(lambda: sent == ["quick"])
        never.set()


async def test_a_connection_reset_does_not_end_the_relay() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) == 1:
            raise ConnectionResetError("peer is gone")

    await enqueue(database, "m1")
    async with running(database, send) as relay:
        await wake_until_all(relay, database, "sent")

    assert len(sent) == 2


async def test_a_requested_delay_does_not_outlast_the_message() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) == 1:
            raise Unreachable("overloaded", retry_after_s=86_400.0)

    expires_at = utc_now() + timedelta(seconds=2)
    async with database.begin() as work:
        await work.enqueue([OutboxMessage(request(id="m1", expires_at=expires_at), "broker", "m1")])
    async with running(database, send) as relay:
        await wake_until_all(relay, database, "sent")

    assert len(sent) == 2


async def test_a_failed_row_blocks_its_key_and_no_other() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()
    down = [True]

    async def send(row: LeasedRow) -> None:
        if row.envelope.id == "k1" and down[0]:
            raise Unreachable("not yet", retry_after_s=0.05)
        sent.append(row.envelope.id)

    await enqueue(database, "k1", "k2", "k3", key="k")
    await enqueue(database, "other")
    async with running(database, send) as relay:
        await wait_until(lambda: sent == ["other"])
        await enqueue(database, "k4", key="k")
        relay.wake()
        down[0] = False
        await wake_until_all(relay, database, "sent")

    assert sent == ["other", "k1", "k2", "k3", "k4"]


async def test_an_abandoned_row_unblocks_its_key() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        if row.envelope.id == "k1":
            raise Undeliverable("routes to no queue")
        sent.append(row.envelope.id)

    await enqueue(database, "k1", "k2", key="k")
    async with running(database, send, max_refusals=1):
        await wait_until(lambda: states(database) == {"k1": "undeliverable", "k2": "sent"})


async def test_rows_of_a_claim_whose_result_was_lost_are_sent() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    await enqueue(database, "m1")
    await database.claim(10, lease_s=30.0, full_routes=[])
    async with running(database, send):
        await wait_until(lambda: sent == ["m1"])


async def test_an_outage_does_not_count_as_a_refusal() -> None:
    """A broker that comes back after an outage reports "unroutable" until its queues are back."""
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) <= 6:
            raise Unreachable("the broker is away", retry_after_s=0.001)
        if len(sent) <= 8:
            raise Undeliverable("routes to no queue", cause="unroutable")

    await enqueue(database, "m1")
    async with running(database, send, max_refusals=3) as relay:
        await wake_until_all(relay, database, "sent")

    assert len(sent) == 9


async def test_only_consecutive_refusals_count_and_the_last_one_counts_as_a_failure() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) == 3:
            raise Unreachable("away in between", retry_after_s=0.001)
        raise Undeliverable("routes to no queue", cause="unroutable")

    await enqueue(database, "m1")
    async with running(database, send, max_refusals=3) as relay:
        await wake_until_all(relay, database, OutboxState.UNDELIVERABLE)

    row = database.tables.outbox["m1"]
    assert (row.cause, row.failures, len(sent)) == ("unroutable", 6, 6)


async def test_a_full_queue_is_given_more_attempts_than_a_refusal() -> None:
    nacked = abandon_reason(Unreachable("a queue is full", reason=NACKED))

    assert nacked is not None
    assert (nacked.cause, nacked.max_consecutive) == (NACKED, MAX_NACKS)
    assert MAX_NACKS > 10 * MAX_REFUSALS
    assert abandon_reason(Unreachable("there is no connection")) is None
    assert abandon_reason(ValueError("a bug")) is None


class UnreliableDatabase(MemoryDatabase):
    """Resets the connection of marks, and of claims after the first, ``failures_left`` times."""

    failures_left = 3
    claims = 0

    def __init__(self, state: object) -> None:
        super().__init__(state)
        self.tracked_at_resync: list[Collection[int]] = []

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        self.claims += 1
        if self.claims > 1:
            self._fail()
        return await super().claim(limit, lease_s=lease_s, full_routes=full_routes, tracked=tracked)

    async def mark_sent(self, seqs: Collection[int]) -> None:
        self._fail()
        await super().mark_sent(seqs)

    async def release_untracked(self, tracked: Collection[int]) -> None:
        self.tracked_at_resync.append(tracked)
        await super().release_untracked(tracked)

    def _fail(self) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise ConnectionResetError


async def test_a_row_that_cannot_be_marked_is_marked_later_and_not_sent_again() -> None:
    database = UnreliableDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    await enqueue(database, "m1")
    async with running(database, send) as relay:
        await wait_until(lambda: bool(sent))
        relay.wake()
        await wait_until(lambda: states(database) == {"m1": "sent"})

    assert sent == ["m1"]
    assert database.tracked_at_resync[1:], "a claim failed, and the relay started again"
    assert list(database.tracked_at_resync[1]) == [0], "the row stays leased until it is marked"


async def test_a_sent_row_is_marked_without_another_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    database = UnreliableDatabase(None)
    database.failures_left = 0
    monkeypatch.setattr(relay_module, "POLL_INTERVAL_S", 60.0)
    await enqueue(database, "m1")

    async def send(row: LeasedRow) -> None:
        pass

    async with running(database, send) as relay:
        await wait_until(lambda: states(database) == {"m1": "sent"})
        await wait_until(lambda: not relay._sender.leases.seqs)
        assert database.claims == 1


async def test_a_stopping_relay_marks_the_rows_it_has_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    database = MemoryDatabase(None)
    sent = list[str]()
    monkeypatch.setattr(sent_marker, "MARK_DELAY_S", 60.0)

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    await enqueue(database, "m1")
    async with running(database, send):
        await wait_until(lambda: bool(sent))

    assert states(database) == {"m1": "sent"}


async def test_a_stopped_relay_leaves_no_task_and_no_timer() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    await enqueue(database, "m1")
    before = tasks_and_timers()
    async with running(database, send):
        await wait_until(lambda: bool(sent))
    assert tasks_and_timers() == before


async def test_a_stopping_relay_waits_for_sends_in_flight() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()
    may_send = asyncio.Event()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        await may_send.wait()

    await enqueue(database, "m1")
    async with running(database, send):
        await wait_until(lambda: bool(sent))
        asyncio.get_running_loop().call_later(0.05, may_send.set)
    assert (sent, states(database)) == (["m1"], {"m1": "sent"})


class FailureRecorder(NullObserver):
    """Lists the errors of failed sends."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        del envelope
        self.failures.append(error)


async def test_a_send_that_swallows_its_cancellation_is_the_last_of_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients of broker and database do so if a result arrives in the same turn of the event loop."""
    monkeypatch.setattr(sender, "DRAIN_TIMEOUT_S", 0.05)
    database = MemoryDatabase(None)
    observer = FailureRecorder()
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    await enqueue(database, "m1", "m2", key="k")
    async with running(database, send, observer=observer):
        await wait_until(lambda: bool(sent))
    assert (sent, states(database)) == (["m1"], {"m1": "sent", "m2": "waiting"})
    assert observer.failures == []
    assert database.tables.outbox["m2"].claimed_until is None


async def test_a_stopped_relay_cancels_sends_and_marks_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows stay leased until the relay runs again, which sends the hanging one a second time."""
    monkeypatch.setattr(sender, "DRAIN_TIMEOUT_S", 0.05)
    database = HangingMarkDatabase(None)
    may_send = asyncio.Event()
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if row.envelope.id == "hanging":
            await may_send.wait()

    relay = Relay(database, NullObserver())
    await enqueue(database, "hanging", "marked later")
    await enqueue(database, "behind", key="hanging")
    before = tasks_and_timers()
    first = asyncio.create_task(relay.run(send))
    await wait_until(lambda: len(sent) == 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert tasks_and_timers() == before

    may_send.set()
    database.may_mark.set()
    second = asyncio.create_task(relay.run(send))
    await wait_until(lambda: set(states(database).values()) == {"sent"})
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert sent == ["hanging", "marked later", "hanging", "behind"]


class HangingMarkDatabase(MemoryDatabase):
    """Marks no row before ``may_mark``."""

    def __init__(self, state: object) -> None:
        super().__init__(state)
        self.may_mark = asyncio.Event()

    async def mark_sent(self, seqs: Collection[int]) -> None:
        await self.may_mark.wait()
        await super().mark_sent(seqs)


class FailingRescheduleDatabase(MemoryDatabase):
    """Fails to record a failed attempt, ``failures_left`` times."""

    failures_left = 1

    async def reschedule(self, row: LeasedRow, error: str, **values: Any) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise ConnectionResetError
        await super().reschedule(row, error, **values)


async def test_a_row_whose_failure_could_not_be_recorded_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    database = FailingRescheduleDatabase(None)
    sent = list[str]()
    monkeypatch.setattr(sender, "WRITE_RETRY_DELAYS_S", ())
    monkeypatch.setattr(sender, "retry_write", lambda write: write())

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) == 1:
            raise Unreachable("not yet", retry_after_s=0.01)

    await enqueue(database, "k1", key="k")
    async with running(database, send) as relay:
        await wait_until(lambda: bool(sent) and not database.failures_left)
        await enqueue(database, "k2", key="k")
        relay.wake()
        await wait_until(lambda: set(states(database).values()) == {"sent"})

    assert sent == ["k1", "k1", "k2"]


class FailingObserver(NullObserver):
    """Observer whose ``on_send_failed`` raises twice, as with a full disk."""

    def __init__(self) -> None:
        self.failures_left = 2

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise OSError(28, "No space left on device")


async def test_a_row_whose_failure_could_not_be_observed_is_not_overtaken() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) == 1:
            raise Unreachable("not yet", retry_after_s=0.01)

    await enqueue(database, "k1", key="k")
    async with running(database, send, observer=FailingObserver()) as relay:
        await wait_until(lambda: bool(sent))
        await enqueue(database, "k2", key="k")
        relay.wake()
        await wait_until(lambda: set(states(database).values()) == {"sent"})

    assert sent == ["k1", "k1", "k2"]


async def test_a_row_whose_send_was_cancelled_by_its_client_is_not_overtaken() -> None:
    database = MemoryDatabase(None)
    sent = list[str]()

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)
        if len(sent) == 1:
            cancelled = asyncio.get_running_loop().create_future()
            cancelled.cancel()
            await cancelled

    await enqueue(database, "k1", key="k")
    async with running(database, send) as relay:
        await wait_until(lambda: bool(sent))
        await enqueue(database, "k2", key="k")
        relay.wake()
        await wait_until(lambda: set(states(database).values()) == {"sent"})

    assert sent == ["k1", "k1", "k2"]


class BlockedResyncDatabase(FailingRescheduleDatabase):
    """Delays the release of untracked rows until ``may_resync``, and fails to record two failed attempts."""

    failures_left = 2

    def __init__(self) -> None:
        super().__init__(None)
        self.resync_requested = asyncio.Event()
        self.may_resync = asyncio.Event()
        self.may_resync.set()

    async def release_untracked(self, tracked: Collection[int]) -> None:
        self.resync_requested.set()
        await self.may_resync.wait()
        await super().release_untracked(tracked)


async def test_a_row_that_fails_during_a_resync_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    database = BlockedResyncDatabase()
    sent = list[str]()
    may_fail = asyncio.Event()
    monkeypatch.setattr(sender, "WRITE_RETRY_DELAYS_S", ())

    async def send(row: LeasedRow) -> None:
        name = row.envelope.id
        sent.append(name)
        if sent.count(name) == 1 and name != "k2":
            await (may_fail.wait() if name == "k1" else asyncio.sleep(0))
            raise Unreachable("not yet", retry_after_s=0.01)

    await enqueue(database, "k1", key="k")
    await enqueue(database, "other")
    async with running(database, send) as relay:
        await wait_until(lambda: len(sent) == 2 and database.failures_left == 1)
        database.resync_requested.clear()
        database.may_resync.clear()
        await enqueue(database, "k2", key="k")
        relay.wake()
        await database.resync_requested.wait()
        may_fail.set()
        await wait_until(lambda: not database.failures_left)
        database.may_resync.set()
        await wait_until(lambda: set(states(database).values()) == {"sent"})

    assert [name for name in sent if name != "other"] == ["k1", "k1", "k2"]


@pytest.mark.parametrize(
    ("failure", "longest_s"),
    [(Unreachable("the provider is away"), 6.1), (Unreachable("the queue is full", reason=NACKED), 2.0)],
    ids=["outage", "refusal"],
)
def test_a_row_is_tried_more_rarely_in_a_long_outage_and_not_after_refusals(
    failure: Exception, longest_s: float
) -> None:
    """Refusals are counted, and so end after about the time that their limit states."""
    row = LeasedRow(1, "http:pricing", request(), 60, "b1")
    delays_s = [sender._retry_delay_s(row, failure) for _ in range(50)]
    assert longest_s / 2 <= min(delays_s) <= max(delays_s) <= longest_s
