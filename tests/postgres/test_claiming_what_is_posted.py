"""A row is claimed by the statement that writes it, unless something else comes before it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox import relay as relaying
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow, OutboxState
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.conditions import poll_until, wait_until
from tests.databases import Databases
from tests.messaging.examples import request

OWNER, LEASE = "relay of this process", timedelta(seconds=30)


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_for("notification")


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine("notification", url)
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox"))
    yield engine
    await engine.dispose()


class Counting(SqlOutbox):
    claims = 0

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        found = await super().claim(limit, lease_s=lease_s, full_routes=full_routes, tracked=tracked)
        self.claims += 1
        return found


async def post(
    engine: AsyncEngine, *names: str, key: str = "k", known: Sequence[int] = (), after_s: float = 0
) -> Handoff:
    """As the relay named OWNER would take all of them, which knows these rows."""
    made: list[Handoff] = []

    @contextmanager
    def taking(postings: Sequence[OutboxMessage]) -> Iterator[Handoff]:
        due = {posting.envelope.id: posting for posting in postings if not posting.delay}
        made.append(Handoff(OWNER, LEASE, len(due), due, known))
        yield made[0]

    async with unit_of_work_factory(engine, SqlUnitOfWork, taking)() as work:
        await work.enqueue(
            [OutboxMessage(request(id=name), "broker", key, timedelta(seconds=after_s)) for name in names]
        )
    return made[0]


async def left(engine: AsyncEngine, *names: str) -> None:
    """By a process whose relay takes nothing."""
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue([OutboxMessage(request(id=name), "broker", "k") for name in names])


async def test_it_is_the_relays_for_as_long_as_a_claim_would_last(engine: AsyncEngine) -> None:
    handover = await post(engine, "a", "b")
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT message_id, seq, claimed_by, claimed_until > now() + interval '25 s' FROM outbox ORDER BY seq")
        )
        rows = [tuple(row) for row in found]
    assert rows == [(name, handover.claimed[name], OWNER, True) for name in ("a", "b")]
    assert list(await SqlOutbox(engine, "another").claim(10, lease_s=30, full_routes=[])) == []


async def test_what_waits_for_somebody_else_comes_first(engine: AsyncEngine) -> None:
    await left(engine, "first")
    assert (await post(engine, "second")).claimed == {}
    assert (await post(engine, "other", key="o")).claimed
    claimed = await SqlOutbox(engine, "another").claim(10, lease_s=30, full_routes=[])
    assert [row.envelope.id for row in claimed] == ["first", "second"]


async def test_what_another_relay_has_under_way_comes_first(engine: AsyncEngine) -> None:
    await left(engine, "first")
    await SqlOutbox(engine, "another").claim(10, lease_s=30, full_routes=[])
    assert (await post(engine, "second")).claimed == {}


async def test_what_stands_in_line_already_is_no_hindrance(engine: AsyncEngine) -> None:
    first = (await post(engine, "first")).claimed["first"]
    assert (await post(engine, "second")).claimed == {}
    assert set((await post(engine, "third", "fourth", key="o", known=[first])).claimed) == {"third", "fourth"}
    another = (await post(engine, "fifth", key="p")).claimed["fifth"]
    assert (await post(engine, "sixth", key="p", known=[first, another])).claimed


async def test_a_claim_takes_nothing_behind_a_row_of_its_relay_that_the_relay_does_not_know(
    engine: AsyncEngine,
) -> None:
    first = (await post(engine, "first")).claimed["first"]
    await left(engine, "second")
    outbox = SqlOutbox(engine, OWNER)
    assert list(await outbox.claim(10, lease_s=30, full_routes=[], tracked=[first + 1])) == []
    (second,) = await outbox.claim(10, lease_s=30, full_routes=[], tracked=[first])
    assert second.envelope.id == "second"


async def test_what_failed_holds_back_until_it_is_tried_again(engine: AsyncEngine) -> None:
    outbox = SqlOutbox(engine, OWNER)
    first = (await post(engine, "first")).claimed["first"]
    await left(engine, "later")
    (row,) = await outbox.claim(10, lease_s=30, full_routes=[], tracked=[first])
    await outbox.reschedule(row, "not yet", delay_s=60.0, refused=False)
    await outbox.mark_sent([first])
    assert (await post(engine, "behind")).claimed == {}


async def test_what_is_over_or_is_to_leave_later_holds_nothing_back(engine: AsyncEngine) -> None:
    outbox = SqlOutbox(engine, OWNER)
    await left(engine, "refused", "sent")
    refused, sent = await outbox.claim(10, lease_s=30, full_routes=[])
    await outbox.abandon(refused, OutboxState.UNDELIVERABLE, "refused", "nobody takes it")
    await outbox.mark_sent([sent.seq])
    assert (await post(engine, "later", after_s=60)).claimed == {}
    assert set((await post(engine, "now")).claimed) == {"now"}


async def test_what_was_written_before_the_clock_was_set_back_comes_first(engine: AsyncEngine) -> None:
    outbox = SqlOutbox(engine, "another")
    await left(engine, "first")
    async with engine.begin() as connection:
        ahead = "UPDATE outbox SET created_at = created_at + interval '1 h', not_before = not_before + interval '1 h'"
        await connection.execute(text(ahead))
    assert (await post(engine, "second")).claimed == {}
    claimed = await outbox.claim(10, lease_s=30, full_routes=[])
    assert [row.envelope.id for row in claimed] == ["first", "second"]
    await outbox.reschedule(claimed[0], "not yet", delay_s=60.0, refused=False)
    await outbox.release([claimed[1].seq])
    assert list(await outbox.claim(10, lease_s=30, full_routes=[])) == [], "a failed one waits for its next try"


async def test_what_was_posted_before_is_claimed_by_nobody_again(engine: AsyncEngine) -> None:
    first = (await post(engine, "first")).claimed["first"]
    again = await post(engine, "first", known=[first])
    assert (again.claimed, again.has_unclaimed) == ({}, True)


async def test_what_stands_behind_another_relays_row_leaves_soon_after_it(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says that a row has been marked: the relay looks again, soon at first, without waiting for its poll."""
    monkeypatch.setattr(relaying, "POLL_INTERVAL_S", 60.0)
    sent: list[str] = []

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    outbox, another = Counting(engine, OWNER), SqlOutbox(engine, "another")
    relay = Relay(outbox, NullObserver())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(relay.run(send))
        await wait_until(lambda: relay._accepts_handoffs)
        await left(engine, "first")
        (first,) = await another.claim(10, lease_s=30, full_routes=[])
        async with unit_of_work_factory(engine, SqlUnitOfWork, relay.hand_off)() as work:
            await work.enqueue([OutboxMessage(request(id="second"), "broker", "k")])
        before = outbox.claims
        await wait_until(lambda: outbox.claims > before + 1)
        assert sent == []
        await another.mark_sent([first.seq])
        await wait_until(lambda: sent == ["second"], timeout_s=1.0)
        running.cancel()


async def test_what_a_process_that_died_had_just_committed_is_sent_by_another(engine: AsyncEngine, url: str) -> None:
    await post(engine, "orphan")
    sent: list[str] = []

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    listening = await asyncpg.connect(asyncpg_dsn(url), server_settings={"application_name": "alive"})
    outbox = SqlOutbox(engine, "alive")
    await outbox.release_orphaned()
    relay = Relay(outbox, NullObserver())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(relay.run(send))
        await poll_until(lambda: _is_sent(engine), timeout_s=5)
        running.cancel()
    await listening.close()
    assert sent == ["orphan"]


async def _is_sent(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        found = await connection.execute(text("SELECT state FROM outbox"))
        return found.scalars().all() == ["sent"]
