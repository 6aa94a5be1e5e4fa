"""What a process posts goes to its relay with the commit: without a claim, and never before what comes before it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest

from prebook.messaging.codec import MAX_BODY_BYTES, WireMessage
from prebook.messaging.errors import Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox import relay as relaying
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.sender import MAX_IN_FLIGHT
from prebook.messaging.outbox.store import LeasedRow
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.runtime.loops import run_forever
from prebook.testing.memory import MemoryDatabase
from tests.conditions import becomes
from tests.messaging.examples import request


class Looked(MemoryDatabase):
    """Counts claims and what was let go, and holds a claim back where it is told to, once it has claimed."""

    def __init__(self) -> None:
        super().__init__(None)
        self.claims, self.let = 0, 0
        self.may_claim = asyncio.Event()
        self.may_claim.set()

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        self.claims += 1
        found = await super().claim(limit, lease_s=lease_s, full_routes=full_routes, tracked=tracked)
        await self.may_claim.wait()
        return found

    async def release_untracked(self, tracked: Collection[int]) -> None:
        self.let += 1
        await super().release_untracked(tracked)


class Sent:
    """What left, in order; what is told to fails the first time, what is told to waits until it may."""

    def __init__(self, *failing: str, waiting: str = "") -> None:
        self.tries, self._failing, self._waiting, self.may = list[str](), set(failing), waiting, asyncio.Event()

    async def __call__(self, row: LeasedRow) -> None:
        name = row.envelope.id
        self.tries.append(name)
        if name == self._waiting:
            await self.may.wait()
        if name in self._failing:
            self._failing.discard(name)
            raise Unreachable("not yet", retry_after_s=0.01)


@asynccontextmanager
async def running(database: Looked, send: Sent) -> AsyncIterator[Relay]:
    """Until it has looked once, and let go of what it did not know: from then on it rests."""
    relay = Relay(database, NullObserver())
    database.hand_off = relay.hand_off
    task = asyncio.create_task(run_forever("relay", lambda: relay.run(send)))
    await becomes(lambda: database.claims == 1)
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def rarely_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is sent was handed over, or the relay was woken."""
    monkeypatch.setattr(relaying, "POLL_INTERVAL_S", 60.0)


async def post(database: MemoryDatabase, *names: str, key: str = "k", after: timedelta = timedelta()) -> None:
    async with database.begin() as work:
        await work.enqueue([OutboxMessage(request(id=name), "broker", key, after) for name in names])


async def write(database: MemoryDatabase, *names: str) -> None:
    """By another process."""
    taking, database.hand_off = database.hand_off, MemoryDatabase(None).hand_off
    await post(database, *names)
    database.hand_off = taking


def states(database: MemoryDatabase) -> set[str]:
    return {row.state for row in database.tables.outbox.values()}


async def test_what_is_posted_leaves_without_a_claim_in_the_order_of_the_commits() -> None:
    database, send = Looked(), Sent()
    async with running(database, send):
        await post(database, "k1", "k2")
        await post(database, "k3")
        await becomes(lambda: states(database) == {"sent"})
        assert (send.tries, database.claims, database.let) == (["k1", "k2", "k3"], 1, 1)


async def test_what_is_posted_while_its_key_is_under_way_waits_in_line() -> None:
    database, send = Looked(), Sent(waiting="k1")
    async with running(database, send):
        await post(database, "k1")
        await post(database, "k2")
        await post(database, "other", key="o")
        await becomes(lambda: "other" in send.tries)
        assert send.tries == ["k1", "other"]
        send.may.set()
        await becomes(lambda: states(database) == {"sent"})
    assert send.tries == ["k1", "other", "k2"]


async def test_what_stands_behind_one_that_fails_steps_back() -> None:
    database, send = Looked(), Sent("k1", waiting="k1")
    async with running(database, send) as relay:
        await post(database, "k1")
        await post(database, "k2", "k3")
        send.may.set()
        await becomes(lambda: not relay._sender.leases.seqs)
        await post(database, "k4")
        await _woken_until_sent(relay, database)
    assert send.tries == ["k1", "k1", "k2", "k3", "k4"]


async def test_what_comes_behind_a_row_that_nobody_has_claimed_is_left_to_a_claim() -> None:
    database, send = Looked(), Sent()
    async with running(database, send):
        await write(database, "k1")
        await post(database, "k2")
        await becomes(lambda: states(database) == {"sent"})
        assert (send.tries, database.claims) == (["k1", "k2"], 2)


async def test_what_comes_behind_a_row_whose_claim_is_not_known_yet_is_left_to_a_claim() -> None:
    database, send = Looked(), Sent()
    async with running(database, send) as relay:
        database.may_claim.clear()
        await write(database, "k1")
        relay.wake()
        await becomes(lambda: database.claims == 2)
        await post(database, "k2")
        database.may_claim.set()
        await becomes(lambda: states(database) == {"sent"})
    assert send.tries == ["k1", "k2"]


async def test_a_claim_that_comes_while_something_is_committed_takes_nothing_behind_it() -> None:
    database, send = Looked(), Sent()
    async with running(database, send) as relay:
        with relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]) as handover:
            await write(database, "k1", "k2")
            rows = database.tables.outbox
            rows["k1"].claimed, handover.claimed = True, {"k1": rows["k1"].seq}
            relay.wake()
            await becomes(lambda: database.claims == 2)
        await _woken_until_sent(relay, database)
    assert send.tries == ["k1", "k2"]


async def test_what_may_have_been_committed_or_not_is_found_by_a_claim() -> None:
    database, send = Looked(), Sent()
    async with running(database, send) as relay:
        await write(database, "k1")
        database.tables.outbox["k1"].claimed = True
        with pytest.raises(ConnectionResetError), relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]):
            raise ConnectionResetError
        await post(database, "k2")
        await becomes(lambda: states(database) == {"sent"})
    assert send.tries == ["k1", "k2"]


def refused(relay: Relay) -> None:
    """As by a statement that wrote nothing, and said so."""
    with relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]) as handover:
        handover.nothing_written = True
        raise KeyError


async def test_what_was_surely_not_written_disturbs_nobody() -> None:
    database, send = Looked(), Sent()
    async with running(database, send) as relay:
        with pytest.raises(KeyError):
            refused(relay)
        await post(database, "k2")
        await becomes(lambda: states(database) == {"sent"})
        assert (send.tries, database.claims, database.let) == (["k2"], 1, 1)


async def test_what_is_to_leave_later_is_not_taken_and_holds_nothing_back() -> None:
    database, send = Looked(), Sent()
    async with running(database, send) as relay:
        await post(database, "later", after=timedelta(seconds=0.05))
        await post(database, "now")
        await becomes(lambda: send.tries == ["now"])
        assert database.claims == 1
        await _woken_until_sent(relay, database)
    assert send.tries == ["now", "later"]


async def test_a_message_that_was_posted_before_is_not_sent_again() -> None:
    database, send = Looked(), Sent()
    async with running(database, send):
        await post(database, "k1")
        await becomes(lambda: states(database) == {"sent"})
        await post(database, "k1", "k2", "k2")
        await becomes(lambda: states(database) == {"sent"})
    assert send.tries == ["k1", "k2"]


async def test_what_no_receiver_would_take_is_left_to_a_claim_which_says_so() -> None:
    large, fits = request(id="k1"), request(id="k2")
    object.__setattr__(large, "encoded", WireMessage({}, bytes(MAX_BODY_BYTES + 1)))
    async with running(Looked(), Sent()) as relay:
        with relay.hand_off([OutboxMessage(each, "broker", each.id) for each in (large, fits)]) as handover:
            assert list(handover.offered) == ["k2"]
            handover.nothing_written = True


async def test_a_full_lane_takes_no_more_and_others_do() -> None:
    database, send = Looked(), Sent(waiting="0")
    async with running(database, send) as relay:
        await post(database, *map(str, range(MAX_IN_FLIGHT)), key="full")
        postings = [OutboxMessage(request(id=lane), lane, "k") for lane in ("broker", "own")]
        with relay.hand_off(postings) as handover:
            assert list(handover.offered) == ["own"]
            handover.nothing_written = True
        assert relay.is_behind
        send.may.set()


async def test_of_one_id_only_the_first_posting_counts_whether_it_leaves_now_or_later() -> None:
    later, now = (OutboxMessage(request(id="k"), "broker", "k", timedelta(seconds=after)) for after in (60, 0))
    async with running(Looked(), Sent()) as relay:
        for postings, taken in (([later, now], []), ([now, later], [now])):
            with relay.hand_off(postings) as handover:
                assert list(handover.offered.values()) == taken
                assert [each for each in postings if handover.owner_of(each)] == taken
                handover.nothing_written = True


async def test_what_was_committed_too_late_to_be_sent_within_its_lease_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database, send = Looked(), Sent()
    async with running(database, send):
        monkeypatch.setattr(relaying, "LEASE_S", 0.0)
        await post(database, "k1")
        await becomes(lambda: database.claims > 1)
        assert send.tries == []
        monkeypatch.undo()
        await becomes(lambda: states(database) == {"sent"})


async def test_a_commit_that_takes_effect_after_all_was_let_go_is_not_overtaken() -> None:
    database, send = Looked(), Sent()
    async with running(database, send) as relay:
        with pytest.raises(ConnectionResetError), relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]):
            raise ConnectionResetError
        await becomes(lambda: database.let > 1 and database.claims > 1)
        await write(database, "k1")
        database.tables.outbox["k1"].claimed = True
        await post(database, "k2")
        await _woken_until_sent(relay, database)
    assert send.tries == ["k1", "k2"]


async def test_who_posts_while_a_line_is_in_use_need_not_wait_for_an_old_failure() -> None:
    """However many overlap, what was stopped before they looked does not stop them."""
    database, send, overlapping = Looked(), Sent("k1"), list[ExitStack]()
    async with running(database, send) as relay:
        overlapping.append(_open(relay))
        await post(database, "k1")

        def overlaps_and_is_sent() -> bool:
            overlapping.append(_open(relay))
            overlapping.pop(0).close()
            relay.wake()
            return send.tries == ["k1", "k1"]

        await becomes(overlaps_and_is_sent)
        overlapping.pop().close()


def _open(relay: Relay) -> ExitStack:
    """A transaction that posts nothing in the end, and has joined the line."""
    stack = ExitStack()
    stack.enter_context(relay.hand_off([OutboxMessage(request(id="nothing"), "broker", "k")]))
    return stack


async def test_a_relay_that_does_not_run_takes_nothing() -> None:
    database, send = Looked(), Sent()
    async with running(database, send) as relay:
        pass
    with relay.hand_off([OutboxMessage(request(id="k1"), "broker", "k")]) as handover:
        assert (handover.offered, handover.has_unclaimed) == ({}, True)


async def _woken_until_sent(relay: Relay, database: MemoryDatabase) -> None:
    def reached() -> bool:
        relay.wake()
        return states(database) == {"sent"}

    await becomes(reached)


async def test_what_is_claimed_again_while_it_waits_in_line_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease ends behind one that takes long; it is ours for longer then, and has its place."""
    database, send = Looked(), Sent(waiting="k1")
    async with running(database, send) as relay:
        await post(database, "k1")
        await post(database, "k2")
        for _ in range(2):
            for row in database.tables.outbox.values():
                row.claimed = False
            before = database.claims
            relay.wake()
            await becomes(partial(_more, database, before))
        assert relay._sender._in_flight["broker"] == 2
        send.may.set()
        await becomes(lambda: states(database) == {"sent"})
    assert send.tries == ["k1", "k2"]


def _more(database: Looked, before: int) -> bool:
    return database.claims > before


class Cut(Looked):
    """The connection of the first put_back is cut: it is tried again a while later."""

    cuts = 1

    async def release(self, seqs: Sequence[int]) -> None:
        if self.cuts:
            self.cuts -= 1
            raise ConnectionResetError
        await super().release(seqs)


async def test_what_failed_is_taken_again_while_what_stood_behind_it_is_still_being_put_back() -> None:
    database, send = Cut(), Sent("k1")
    async with running(database, send) as relay:
        await post(database, "k1", "k2")
        await becomes(lambda: not database.cuts)
        await _woken_until_sent(relay, database)
    assert send.tries == ["k1", "k1", "k2"]
