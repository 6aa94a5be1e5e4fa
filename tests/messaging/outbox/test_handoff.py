"""Handoff: rows go to the relay of their process with the commit, and never overtake earlier rows of their key."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest

from prebook.messaging.clock import utc_now
from prebook.messaging.codec import MAX_BODY_BYTES, WireMessage
from prebook.messaging.errors import Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox import relay as relay_module
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.sender import MAX_IN_FLIGHT
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.runtime.loops import run_forever
from prebook.testing.memory import MemoryDatabase
from tests.conditions import wait_until
from tests.leftovers import tasks_and_timers
from tests.messaging.examples import request


class CountingDatabase(MemoryDatabase):
    """Counts claims and resyncs; while ``may_claim`` is cleared, a claim leases its rows and does not return."""

    def __init__(self) -> None:
        super().__init__(None)
        self.claims = 0
        self.resyncs = 0
        self.may_claim = asyncio.Event()
        self.may_claim.set()

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        self.claims += 1
        rows = await super().claim(limit, lease_s=lease_s, full_routes=full_routes, tracked=tracked)
        await self.may_claim.wait()
        return rows

    async def release_untracked(self, tracked: Collection[int]) -> None:
        self.resyncs += 1
        await super().release_untracked(tracked)


class RecordingSend:
    """Records sent ids in order; ids in ``failing`` fail once, the id ``waiting`` waits for ``may_send``."""

    def __init__(self, *failing: str, waiting: str = "") -> None:
        self.sent = list[str]()
        self.may_send = asyncio.Event()
        self._failing = set(failing)
        self._waiting = waiting

    async def __call__(self, row: LeasedRow) -> None:
        name = row.envelope.id
        self.sent.append(name)
        if name == self._waiting:
            await self.may_send.wait()
        if name in self._failing:
            self._failing.discard(name)
            raise Unreachable("not yet", retry_after_s=0.01)


@asynccontextmanager
async def running(database: CountingDatabase, send: RecordingSend) -> AsyncIterator[Relay]:
    """Run a relay; yields once it has scanned an empty outbox and waits for a wake-up."""
    relay = Relay(database, NullObserver())
    database.hand_off = relay.hand_off
    task = asyncio.create_task(run_forever("relay", lambda: relay.run(send)))
    await wait_until(lambda: database.claims == 1)
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are sent only because they were handed off or the relay was woken."""
    monkeypatch.setattr(relay_module, "POLL_INTERVAL_S", 60.0)


async def enqueue(database: MemoryDatabase, *ids: str, key: str = "k", delay: timedelta = timedelta()) -> None:
    async with database.begin() as work:
        await work.enqueue([OutboxMessage(request(id=name), "broker", key, delay) for name in ids])


async def enqueue_elsewhere(database: MemoryDatabase, *ids: str) -> None:
    """Write rows as another process would: without a handoff."""
    hand_off = database.hand_off
    database.hand_off = MemoryDatabase(None).hand_off
    await enqueue(database, *ids)
    database.hand_off = hand_off


def lease(database: MemoryDatabase, name: str) -> None:
    """Lease a row that the relay does not track, as a commit with an unknown outcome does."""
    row = database.tables.outbox[name]
    row.claimed_by = database.owner
    row.claimed_until = utc_now() + timedelta(seconds=30)


def states(database: MemoryDatabase) -> set[str]:
    return {row.state for row in database.tables.outbox.values()}


async def test_enqueued_messages_are_sent_in_commit_order_without_a_claim() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send):
        await enqueue(database, "k1", "k2")
        await enqueue(database, "k3")
        await wait_until(lambda: states(database) == {"sent"})
        assert (send.sent, database.claims, database.resyncs) == (["k1", "k2", "k3"], 1, 1)


async def test_a_message_waits_for_the_earlier_one_of_its_key() -> None:
    database = CountingDatabase()
    send = RecordingSend(waiting="k1")
    async with running(database, send):
        await enqueue(database, "k1")
        await enqueue(database, "k2")
        await enqueue(database, "other", key="o")
        await wait_until(lambda: "other" in send.sent)
        assert send.sent == ["k1", "other"]
        send.may_send.set()
        await wait_until(lambda: states(database) == {"sent"})
    assert send.sent == ["k1", "other", "k2"]


async def test_messages_behind_a_failed_one_are_released() -> None:
    database = CountingDatabase()
    send = RecordingSend("k1", waiting="k1")
    async with running(database, send) as relay:
        await enqueue(database, "k1")
        await enqueue(database, "k2", "k3")
        send.may_send.set()
        await wait_until(lambda: not relay._sender.leases.seqs)
        await enqueue(database, "k4")
        await _wake_until_sent(relay, database)
    assert send.sent == ["k1", "k1", "k2", "k3", "k4"]


async def test_a_message_behind_an_unclaimed_row_is_left_to_a_claim() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send):
        await enqueue_elsewhere(database, "k1")
        await enqueue(database, "k2")
        await wait_until(lambda: states(database) == {"sent"})
        assert (send.sent, database.claims) == (["k1", "k2"], 2)


async def test_a_message_behind_a_row_of_a_pending_claim_is_left_to_a_claim() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send) as relay:
        database.may_claim.clear()
        await enqueue_elsewhere(database, "k1")
        relay.wake()
        await wait_until(lambda: database.claims == 2)
        await enqueue(database, "k2")
        database.may_claim.set()
        await wait_until(lambda: states(database) == {"sent"})
    assert send.sent == ["k1", "k2"]


async def test_a_claim_during_a_commit_leases_no_later_row_of_the_key() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send) as relay:
        with relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]) as handoff:
            await enqueue_elsewhere(database, "k1", "k2")
            lease(database, "k1")
            handoff.claimed = {"k1": database.tables.outbox["k1"].seq}
            relay.wake()
            await wait_until(lambda: database.claims == 2)
        await _wake_until_sent(relay, database)
    assert send.sent == ["k1", "k2"]


async def test_a_row_of_an_uncertain_commit_is_found_by_a_claim() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send) as relay:
        await enqueue_elsewhere(database, "k1")
        lease(database, "k1")
        with pytest.raises(ConnectionResetError), relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]):
            raise ConnectionResetError
        await enqueue(database, "k2")
        await wait_until(lambda: states(database) == {"sent"})
    assert send.sent == ["k1", "k2"]


def fail_without_writing(relay: Relay) -> None:
    """Raise from a handoff whose statement certainly wrote nothing."""
    with relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]) as handoff:
        handoff.nothing_written = True
        raise KeyError


async def test_a_failed_write_causes_no_scan() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send) as relay:
        with pytest.raises(KeyError):
            fail_without_writing(relay)
        await enqueue(database, "k2")
        await wait_until(lambda: states(database) == {"sent"})
        assert (send.sent, database.claims, database.resyncs) == (["k2"], 1, 1)


async def test_a_delayed_message_is_not_handed_off_and_blocks_no_other() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send) as relay:
        await enqueue(database, "later", delay=timedelta(seconds=0.05))
        await enqueue(database, "now")
        await wait_until(lambda: send.sent == ["now"])
        assert database.claims == 1
        await _wake_until_sent(relay, database)
    assert send.sent == ["now", "later"]


async def test_a_message_id_that_was_enqueued_before_is_not_sent_again() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send):
        await enqueue(database, "k1")
        await wait_until(lambda: states(database) == {"sent"})
        await enqueue(database, "k1", "k2", "k2")
        await wait_until(lambda: states(database) == {"sent"})
    assert send.sent == ["k1", "k2"]


async def test_an_oversized_message_is_not_handed_off() -> None:
    large = request(id="k1")
    fits = request(id="k2")
    object.__setattr__(large, "encoded", WireMessage({}, bytes(MAX_BODY_BYTES + 1)))
    async with running(CountingDatabase(), RecordingSend()) as relay:
        with relay.hand_off([OutboxMessage(each, "broker", each.id) for each in (large, fits)]) as handoff:
            assert list(handoff.offered) == ["k2"]
            handoff.nothing_written = True


async def test_a_full_route_accepts_no_handoff_and_others_do() -> None:
    database = CountingDatabase()
    send = RecordingSend(waiting="0")
    async with running(database, send) as relay:
        await enqueue(database, *map(str, range(MAX_IN_FLIGHT)), key="full")
        messages = [OutboxMessage(request(id=lane), lane, "k") for lane in ("broker", "own")]
        with relay.hand_off(messages) as handoff:
            assert list(handoff.offered) == ["own"]
            handoff.nothing_written = True
        assert relay.is_behind
        send.may_send.set()


async def test_only_the_first_message_of_an_id_counts() -> None:
    later, now = (OutboxMessage(request(id="k"), "broker", "k", timedelta(seconds=delay)) for delay in (60, 0))
    async with running(CountingDatabase(), RecordingSend()) as relay:
        for messages, expected in (([later, now], []), ([now, later], [now])):
            with relay.hand_off(messages) as handoff:
                assert list(handoff.offered.values()) == expected
                assert [each for each in messages if handoff.owner_of(each)] == expected
                handoff.nothing_written = True


async def test_a_row_committed_too_late_for_its_lease_is_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send):
        monkeypatch.setattr(relay_module, "LEASE_S", 0.0)
        await enqueue(database, "k1")
        await wait_until(lambda: database.claims > 1)
        assert send.sent == []
        monkeypatch.undo()
        await wait_until(lambda: states(database) == {"sent"})


async def test_a_commit_that_takes_effect_after_a_resync_is_not_overtaken() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send) as relay:
        with pytest.raises(ConnectionResetError), relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]):
            raise ConnectionResetError
        await wait_until(lambda: database.resyncs > 1 and database.claims > 1)
        await enqueue_elsewhere(database, "k1")
        lease(database, "k1")
        await enqueue(database, "k2")
        await _wake_until_sent(relay, database)
    assert send.sent == ["k1", "k2"]


async def test_overlapping_handoffs_do_not_prolong_an_old_failure() -> None:
    """A key blocked before a handoff began does not block that handoff, however many of them overlap."""
    database = CountingDatabase()
    send = RecordingSend("k1")
    open_handoffs = list[ExitStack]()
    async with running(database, send) as relay:
        open_handoffs.append(_open_handoff(relay))
        await enqueue(database, "k1")

        def overlap_until_sent() -> bool:
            open_handoffs.append(_open_handoff(relay))
            open_handoffs.pop(0).close()
            relay.wake()
            return send.sent == ["k1", "k1"]

        await wait_until(overlap_until_sent)
        open_handoffs.pop().close()


def _open_handoff(relay: Relay) -> ExitStack:
    """Enter the handoff of a transaction that holds a ticket and writes nothing in the end."""
    stack = ExitStack()
    stack.enter_context(relay.hand_off([OutboxMessage(request(id="unwritten"), "broker", "k")]))
    return stack


async def test_a_stopped_relay_accepts_no_handoff() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send) as relay:
        pass
    with relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]) as handoff:
        assert (handoff.offered, handoff.has_unclaimed) == ({}, True)


async def test_rows_of_a_commit_that_outlives_the_relay_are_sent_when_it_runs_again() -> None:
    database = CountingDatabase()
    send = RecordingSend()
    async with running(database, send) as relay:
        handoff_of_k1 = relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")])
        handoff = handoff_of_k1.__enter__()
    before = tasks_and_timers()
    await enqueue_elsewhere(database, "k1")
    lease(database, "k1")
    handoff.claimed = {"k1": database.tables.outbox["k1"].seq}
    handoff_of_k1.__exit__(None, None, None)
    assert tasks_and_timers() == before, "a stopped relay starts no task"

    task = asyncio.create_task(relay.run(send))
    await wait_until(lambda: database.claims == 2)
    await enqueue(database, "k2")
    await _wake_until_sent(relay, database)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert send.sent == ["k1", "k2"]


async def _wake_until_sent(relay: Relay, database: MemoryDatabase) -> None:
    def reached() -> bool:
        relay.wake()
        return states(database) == {"sent"}

    await wait_until(reached)


async def test_a_row_claimed_again_while_queued_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease ends while a slow row precedes the row; the second claim renews it and adds no second batch."""
    database = CountingDatabase()
    send = RecordingSend(waiting="k1")
    async with running(database, send) as relay:
        await enqueue(database, "k1")
        await enqueue(database, "k2")
        for _ in range(2):
            for row in database.tables.outbox.values():
                row.claimed_until = None
            before = database.claims
            relay.wake()
            await wait_until(partial(_claimed_again, database, before))
        assert relay._sender._in_flight["broker"] == 2
        send.may_send.set()
        await wait_until(lambda: states(database) == {"sent"})
    assert send.sent == ["k1", "k2"]


def _claimed_again(database: CountingDatabase, before: int) -> bool:
    return database.claims > before


class FailingReleaseDatabase(CountingDatabase):
    """Fails the first ``release``, which is then retried after a delay."""

    failures_left = 1

    async def release(self, seqs: Sequence[int]) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise ConnectionResetError
        await super().release(seqs)


async def test_a_failed_row_is_claimed_again_while_later_rows_are_still_being_released() -> None:
    database = FailingReleaseDatabase()
    send = RecordingSend("k1")
    async with running(database, send) as relay:
        await enqueue(database, "k1", "k2")
        await wait_until(lambda: not database.failures_left)
        await _wake_until_sent(relay, database)
    assert send.sent == ["k1", "k1", "k2"]
