import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from prebook.messaging.clock import utc_now
from prebook.messaging.envelope import Envelope
from prebook.messaging.errors import Undeliverable, Unreachable
from prebook.messaging.observer import MessagingObserver, NullObserver
from prebook.messaging.outbox import relay as relaying
from prebook.messaging.outbox import sender, sent_marker
from prebook.messaging.outbox.abandonment import MAX_NACKS, MAX_REFUSALS, NACKED, abandon_reason
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.sender import MAX_IN_FLIGHT
from prebook.messaging.outbox.store import LeasedRow, OutboxState
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.runtime.loops import run_forever
from prebook.testing.memory import MemoryDatabase
from tests.conditions import becomes
from tests.messaging.examples import request
from tests.messaging.expiring import Expiries


async def staged(
    database: MemoryDatabase, *ids: str, lane: str = "broker", expired: bool = False, key: str = ""
) -> None:
    """Each under an order key of its own, unless there is a ``key`` for all."""
    now = utc_now()
    expires = now + timedelta(seconds=-1 if expired else 60)
    async with database.begin() as work:
        await work.enqueue([OutboxMessage(request(id=name, expires_at=expires), lane, key or name) for name in ids])


@asynccontextmanager
async def running(
    database: MemoryDatabase,
    send: Callable[[LeasedRow], Awaitable[None]],
    most_refusals: int = 3,
    watch: MessagingObserver | None = None,
) -> AsyncIterator[Relay]:
    relay = Relay(database, watch or NullObserver(), max_refusals=most_refusals)
    task = asyncio.create_task(run_forever("relay", lambda: relay.run(send)))
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def woken_until_all(relay: Relay, database: MemoryDatabase, state: str) -> None:
    """Without waiting for the poll to come round to a row's next try; a row that failed often pauses for 2 s."""

    def reached() -> bool:
        relay.wake()
        return set(states(database).values()) == {state}

    await becomes(reached, within_s=12.0)


def states(database: MemoryDatabase) -> dict[str, str]:
    return {name: row.state for name, row in database.tables.outbox.items()}


async def test_it_sends_in_order_what_was_committed() -> None:
    database, seen = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        seen.append(row.envelope.id)

    await staged(database, *(f"m{n}" for n in range(50)))
    async with running(database, send):
        await becomes(lambda: set(states(database).values()) == {"sent"})

    assert seen == [f"m{n}" for n in range(50)]


async def test_a_wake_up_is_faster_than_the_poll() -> None:
    database, seen = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        seen.append(row.envelope.id)

    async with running(database, send) as relay:
        await asyncio.sleep(0.05)
        await staged(database, "m1")
        relay.wake()
        await becomes(lambda: seen == ["m1"], within_s=0.2)


async def test_what_cannot_be_sent_now_is_sent_later() -> None:
    database, tries = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) < 3:
            raise Unreachable("not yet")

    await staged(database, "m1")
    async with running(database, send) as relay:
        await woken_until_all(relay, database, "sent")

    assert tries == ["m1"] * 3
    assert database.tables.outbox["m1"].failures == 2


async def test_what_can_never_be_sent_ends_in_a_named_state() -> None:
    database, tries = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        raise Undeliverable("routes to no queue")

    await staged(database, "m1")
    async with running(database, send, most_refusals=3) as relay:
        await woken_until_all(relay, database, "undeliverable")

    assert database.tables.outbox["m1"].error == "Undeliverable: routes to no queue"
    assert len(tries) == 3


async def test_a_broker_that_has_not_its_queues_back_yet_is_given_time() -> None:
    database, tries = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) < 3:
            raise Undeliverable("routes to no queue")

    await staged(database, "m1")
    async with running(database, send, most_refusals=4) as relay:
        await woken_until_all(relay, database, "sent")


async def test_what_nobody_waits_for_is_not_sent() -> None:
    database, seen = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        seen.append(row.envelope.id)

    await staged(database, "m1", expired=True)
    watch = Expiries()
    async with running(database, send, watch=watch):
        await becomes(lambda: states(database) == {"m1": "expired"})

    assert (seen, watch.expirations) == ([], [("m1", "outbox")])


async def test_a_hanging_lane_does_not_hold_another() -> None:
    database, seen, never = MemoryDatabase(None), list[str](), asyncio.Event()

    async def send(row: LeasedRow) -> None:
        if row.route == "http:pricing":
            await never.wait()
        seen.append(row.envelope.id)

    await staged(database, *(f"slow{n}" for n in range(MAX_IN_FLIGHT)), lane="http:pricing")
    async with running(database, send) as relay:
        await asyncio.sleep(0.05)
        await staged(database, "quick")
        relay.wake()
        await becomes(lambda: seen == ["quick"])
        never.set()


async def test_a_cancelled_send_that_nobody_asked_for_does_not_end_the_relay() -> None:
    """A client that loses its peer cancels the waiter of a confirm; see the publisher for how that is told apart."""
    database, tries = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) == 1:
            raise ConnectionResetError("peer is gone")

    await staged(database, "m1")
    async with running(database, send) as relay:
        await woken_until_all(relay, database, "sent")

    assert len(tries) == 2


async def test_what_comes_after_one_that_waits_waits_too_and_others_go_on() -> None:
    database, seen, down = MemoryDatabase(None), list[str](), [True]

    async def send(row: LeasedRow) -> None:
        if row.envelope.id == "k1" and down[0]:
            raise Unreachable("not yet", retry_after_s=0.05)
        seen.append(row.envelope.id)

    await staged(database, "k1", "k2", "k3", key="k")
    await staged(database, "other")
    async with running(database, send) as relay:
        await becomes(lambda: seen == ["other"])
        await staged(database, "k4", key="k")
        relay.wake()
        down[0] = False
        await woken_until_all(relay, database, "sent")

    assert seen == ["other", "k1", "k2", "k3", "k4"]


async def test_what_can_never_be_sent_holds_nobody_for_ever() -> None:
    database, seen = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        if row.envelope.id == "k1":
            raise Undeliverable("routes to no queue")
        seen.append(row.envelope.id)

    await staged(database, "k1", "k2", key="k")
    async with running(database, send, most_refusals=1):
        await becomes(lambda: states(database) == {"k1": "undeliverable", "k2": "sent"})


async def test_what_a_lost_answer_to_a_claim_left_behind_is_due_again() -> None:
    database, seen = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        seen.append(row.envelope.id)

    await staged(database, "m1")
    await database.claim(10, lease_s=30.0, full_routes=[])
    async with running(database, send):
        await becomes(lambda: seen == ["m1"])


async def test_an_outage_does_not_count_towards_giving_up() -> None:
    """A broker that was away for long, and says "unroutable" while it has not its queues back, is given time again."""
    database, tries = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) <= 6:
            raise Unreachable("the broker is away", retry_after_s=0.001)
        if len(tries) <= 8:
            raise Undeliverable("routes to no queue", cause="unroutable")

    await staged(database, "m1")
    async with running(database, send, most_refusals=3) as relay:
        await woken_until_all(relay, database, "sent")

    assert len(tries) == 9


async def test_refusals_count_in_a_row_only_and_the_last_one_is_counted_as_a_try() -> None:
    database, tries = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) == 3:
            raise Unreachable("away in between", retry_after_s=0.001)
        raise Undeliverable("routes to no queue", cause="unroutable")

    await staged(database, "m1")
    async with running(database, send, most_refusals=3) as relay:
        await woken_until_all(relay, database, OutboxState.UNDELIVERABLE)

    row = database.tables.outbox["m1"]
    assert (row.cause, row.failures, len(tries)) == ("unroutable", 6, 6)


async def test_a_full_queue_is_waited_for_and_named_where_it_never_empties() -> None:
    nacked = abandon_reason(Unreachable("a queue is full", reason=NACKED))

    assert nacked is not None
    assert (nacked.cause, nacked.max_in_a_row) == (NACKED, MAX_NACKS)
    assert MAX_NACKS > 10 * MAX_REFUSALS
    assert abandon_reason(Unreachable("there is no connection")) is None
    assert abandon_reason(ValueError("a bug")) is None


class CutOff(MemoryDatabase):
    """Cuts the connection in which rows are marked, and that of a claim, several times in a row."""

    cuts, claims = 3, 0

    def __init__(self, state: object) -> None:
        super().__init__(state)
        self.kept: list[Collection[int]] = []

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        self.claims += 1
        if self.claims > 1:
            self._cut()
        return await super().claim(limit, lease_s=lease_s, full_routes=full_routes, tracked=tracked)

    async def mark_sent(self, seqs: Collection[int]) -> None:
        self._cut()
        await super().mark_sent(seqs)

    async def release_untracked(self, tracked: Collection[int]) -> None:
        self.kept.append(tracked)
        await super().release_untracked(tracked)

    def _cut(self) -> None:
        if self.cuts:
            self.cuts -= 1
            raise ConnectionResetError


async def test_what_cannot_be_marked_is_marked_later_and_not_sent_again() -> None:
    database, seen = CutOff(None), list[str]()

    async def send(row: LeasedRow) -> None:
        seen.append(row.envelope.id)

    await staged(database, "m1")
    async with running(database, send) as relay:
        await becomes(lambda: bool(seen))
        relay.wake()
        await becomes(lambda: states(database) == {"m1": "sent"})

    assert seen == ["m1"]
    assert database.kept[1:], "a claim failed, and the relay began again"
    assert list(database.kept[1]) == [0], "it is this relay's until it is marked"


async def test_what_is_sent_is_marked_in_time_where_no_claim_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    database = CutOff(None)
    database.cuts = 0
    monkeypatch.setattr(relaying, "POLL_INTERVAL_S", 60.0)
    await staged(database, "m1")

    async def send(row: LeasedRow) -> None:
        pass

    async with running(database, send) as relay:
        await becomes(lambda: states(database) == {"m1": "sent"})
        await becomes(lambda: not relay._sender.leases.seqs)
        assert database.claims == 1


async def test_a_relay_that_ends_marks_what_it_has_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    database, seen = MemoryDatabase(None), list[str]()
    monkeypatch.setattr(sent_marker, "MARK_DELAY_S", 60.0)

    async def send(row: LeasedRow) -> None:
        seen.append(row.envelope.id)

    await staged(database, "m1")
    async with running(database, send):
        await becomes(lambda: bool(seen))

    assert states(database) == {"m1": "sent"}


class Unnoted(MemoryDatabase):
    """Cannot note that a row is to wait, for once."""

    cuts = 1

    async def reschedule(self, row: LeasedRow, error: str, *, delay_s: float, refused: bool) -> None:
        if self.cuts:
            self.cuts -= 1
            raise ConnectionResetError
        await super().reschedule(row, error, delay_s=delay_s, refused=refused)


async def test_a_row_whose_failure_could_not_be_noted_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    database, tries = Unnoted(None), list[str]()
    monkeypatch.setattr(sender, "WRITE_RETRY_DELAYS_S", ())
    monkeypatch.setattr(sender, "retry_write", lambda note: note())

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) == 1:
            raise Unreachable("not yet", retry_after_s=0.01)

    await staged(database, "k1", key="k")
    async with running(database, send) as relay:
        await becomes(lambda: bool(tries) and not database.cuts)
        await staged(database, "k2", key="k")
        relay.wake()
        await becomes(lambda: set(states(database).values()) == {"sent"})

    assert tries == ["k1", "k1", "k2"]


class SpeechlessOnce(NullObserver):
    """Cannot tell of what was not sent, for as often as somebody tries at first: its disk is full."""

    def __init__(self) -> None:
        self.left = 2

    def on_send_failed(self, envelope: Envelope, error: Exception) -> None:
        if self.left:
            self.left -= 1
            raise OSError(28, "No space left on device")


async def test_a_row_whose_failure_could_not_be_told_is_not_overtaken() -> None:
    database, tries = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) == 1:
            raise Unreachable("not yet", retry_after_s=0.01)

    await staged(database, "k1", key="k")
    async with running(database, send, watch=SpeechlessOnce()) as relay:
        await becomes(lambda: bool(tries))
        await staged(database, "k2", key="k")
        relay.wake()
        await becomes(lambda: set(states(database).values()) == {"sent"})

    assert tries == ["k1", "k1", "k2"]


async def test_a_row_whose_sending_was_broken_off_from_within_is_not_overtaken() -> None:
    database, tries = MemoryDatabase(None), list[str]()

    async def send(row: LeasedRow) -> None:
        tries.append(row.envelope.id)
        if len(tries) == 1:
            broken_off = asyncio.get_running_loop().create_future()
            broken_off.cancel()
            await broken_off

    await staged(database, "k1", key="k")
    async with running(database, send) as relay:
        await becomes(lambda: bool(tries))
        await staged(database, "k2", key="k")
        relay.wake()
        await becomes(lambda: set(states(database).values()) == {"sent"})

    assert tries == ["k1", "k1", "k2"]


class Letting(Unnoted):
    """Lets go only once it may, and can note nothing at first."""

    cuts = 2

    def __init__(self) -> None:
        super().__init__(None)
        self.asked, self.may = asyncio.Event(), asyncio.Event()
        self.may.set()

    async def release_untracked(self, tracked: Collection[int]) -> None:
        self.asked.set()
        await self.may.wait()
        await super().release_untracked(tracked)


async def test_what_fails_while_others_are_let_go_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    database, tries, fails = Letting(), list[str](), asyncio.Event()
    monkeypatch.setattr(sender, "WRITE_RETRY_DELAYS_S", ())

    async def send(row: LeasedRow) -> None:
        name = row.envelope.id
        tries.append(name)
        if tries.count(name) == 1 and name != "k2":
            await (fails.wait() if name == "k1" else asyncio.sleep(0))
            raise Unreachable("not yet", retry_after_s=0.01)

    await staged(database, "k1", key="k")
    await staged(database, "other")
    async with running(database, send) as relay:
        await becomes(lambda: len(tries) == 2 and database.cuts == 1)
        database.asked.clear()
        database.may.clear()
        await staged(database, "k2", key="k")
        relay.wake()
        await database.asked.wait()
        fails.set()
        await becomes(lambda: not database.cuts)
        database.may.set()
        await becomes(lambda: set(states(database).values()) == {"sent"})

    assert [name for name in tries if name != "other"] == ["k1", "k1", "k2"]
