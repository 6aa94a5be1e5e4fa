"""A row is claimed by the statement that inserts it, unless an earlier row of its key must be sent first."""

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

OWNER = "relay of this process"
LEASE = timedelta(seconds=30)


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


class ClaimCountingOutbox(SqlOutbox):
    claims = 0

    async def claim(
        self, limit: int, *, lease_s: float, full_routes: Collection[str], tracked: Collection[int] = ()
    ) -> Sequence[LeasedRow]:
        found = await super().claim(limit, lease_s=lease_s, full_routes=full_routes, tracked=tracked)
        self.claims += 1
        return found


async def enqueue_and_claim(
    engine: AsyncEngine, *names: str, key: str = "k", tracked: Sequence[int] = (), after_s: float = 0
) -> Handoff:
    """Enqueue messages of one key for the relay OWNER, which tracks the rows ``tracked``; return the handoff."""
    handoffs: list[Handoff] = []

    @contextmanager
    def hand_off(messages: Sequence[OutboxMessage]) -> Iterator[Handoff]:
        due = {message.envelope.id: message for message in messages if not message.delay}
        handoffs.append(Handoff(OWNER, LEASE, len(due), due, tracked))
        yield handoffs[0]

    async with unit_of_work_factory(engine, SqlUnitOfWork, hand_off)() as work:
        await work.enqueue(
            [OutboxMessage(request(id=name), "broker", key, timedelta(seconds=after_s)) for name in names]
        )
    return handoffs[0]


async def enqueue(engine: AsyncEngine, *names: str) -> None:
    """Enqueue messages of one key in a process whose relay claims nothing."""
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue([OutboxMessage(request(id=name), "broker", "k") for name in names])


async def test_a_claimed_row_has_the_lease_of_a_claim(engine: AsyncEngine) -> None:
    handoff = await enqueue_and_claim(engine, "a", "b")
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT message_id, seq, claimed_by, claimed_until > now() + interval '25 s' FROM outbox ORDER BY seq")
        )
        rows = [tuple(row) for row in found]
    assert rows == [(name, handoff.claimed[name], OWNER, True) for name in ("a", "b")]
    assert list(await SqlOutbox(engine, "another").claim(10, lease_s=30, full_routes=[])) == []


async def test_a_row_behind_a_waiting_row_of_its_key_is_not_claimed(engine: AsyncEngine) -> None:
    await enqueue(engine, "first")
    assert (await enqueue_and_claim(engine, "second")).claimed == {}
    assert (await enqueue_and_claim(engine, "other", key="o")).claimed
    claimed = await SqlOutbox(engine, "another").claim(10, lease_s=30, full_routes=[])
    assert [row.envelope.id for row in claimed] == ["first", "second"]


async def test_a_row_behind_a_row_leased_by_another_relay_is_not_claimed(engine: AsyncEngine) -> None:
    await enqueue(engine, "first")
    await SqlOutbox(engine, "another").claim(10, lease_s=30, full_routes=[])
    assert (await enqueue_and_claim(engine, "second")).claimed == {}


async def test_a_row_behind_tracked_rows_of_its_relay_is_claimed(engine: AsyncEngine) -> None:
    first = (await enqueue_and_claim(engine, "first")).claimed["first"]
    assert (await enqueue_and_claim(engine, "second")).claimed == {}
    assert set((await enqueue_and_claim(engine, "third", "fourth", key="o", tracked=[first])).claimed) == {
        "third",
        "fourth",
    }
    another = (await enqueue_and_claim(engine, "fifth", key="p")).claimed["fifth"]
    assert (await enqueue_and_claim(engine, "sixth", key="p", tracked=[first, another])).claimed


async def test_a_claim_omits_rows_behind_an_untracked_row_of_the_same_relay(
    engine: AsyncEngine,
) -> None:
    first = (await enqueue_and_claim(engine, "first")).claimed["first"]
    await enqueue(engine, "second")
    outbox = SqlOutbox(engine, OWNER)
    assert list(await outbox.claim(10, lease_s=30, full_routes=[], tracked=[first + 1])) == []
    (second,) = await outbox.claim(10, lease_s=30, full_routes=[], tracked=[first])
    assert second.envelope.id == "second"


async def test_a_failed_row_holds_back_later_rows_until_its_retry(engine: AsyncEngine) -> None:
    outbox = SqlOutbox(engine, OWNER)
    first = (await enqueue_and_claim(engine, "first")).claimed["first"]
    await enqueue(engine, "later")
    (row,) = await outbox.claim(10, lease_s=30, full_routes=[], tracked=[first])
    await outbox.reschedule(row, "unreachable", delay_s=60.0, refused=False)
    await outbox.mark_sent([first])
    assert (await enqueue_and_claim(engine, "behind")).claimed == {}


async def test_sent_abandoned_and_delayed_rows_hold_nothing_back(engine: AsyncEngine) -> None:
    outbox = SqlOutbox(engine, OWNER)
    await enqueue(engine, "refused", "sent")
    refused, sent = await outbox.claim(10, lease_s=30, full_routes=[])
    await outbox.abandon(refused, OutboxState.UNDELIVERABLE, "refused", "refused by the broker")
    await outbox.mark_sent([sent.seq])
    assert (await enqueue_and_claim(engine, "later", after_s=60)).claimed == {}
    assert set((await enqueue_and_claim(engine, "now")).claimed) == {"now"}


async def test_rows_keep_their_order_though_the_clock_was_set_back(engine: AsyncEngine) -> None:
    outbox = SqlOutbox(engine, "another")
    await enqueue(engine, "first")
    async with engine.begin() as connection:
        move_ahead = (
            "UPDATE outbox SET created_at = created_at + interval '1 h', not_before = not_before + interval '1 h'"
        )
        await connection.execute(text(move_ahead))
    assert (await enqueue_and_claim(engine, "second")).claimed == {}
    claimed = await outbox.claim(10, lease_s=30, full_routes=[])
    assert [row.envelope.id for row in claimed] == ["first", "second"]
    await outbox.reschedule(claimed[0], "unreachable", delay_s=60.0, refused=False)
    await outbox.release([claimed[1].seq])
    assert list(await outbox.claim(10, lease_s=30, full_routes=[])) == [], "a failed row waits for its retry"


async def test_a_duplicate_message_is_not_claimed_again(engine: AsyncEngine) -> None:
    first = (await enqueue_and_claim(engine, "first")).claimed["first"]
    again = await enqueue_and_claim(engine, "first", tracked=[first])
    assert (again.claimed, again.has_unclaimed) == ({}, True)


async def test_a_row_behind_a_row_of_another_relay_is_sent_soon_after_it(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay claims again after a short delay instead of its poll interval, because a sent row is not notified."""
    monkeypatch.setattr(relaying, "POLL_INTERVAL_S", 60.0)
    sent: list[str] = []

    async def send(row: LeasedRow) -> None:
        sent.append(row.envelope.id)

    outbox = ClaimCountingOutbox(engine, OWNER)
    another = SqlOutbox(engine, "another")
    relay = Relay(outbox, NullObserver())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(relay.run(send))
        await wait_until(lambda: relay._accepts_handoffs)
        await enqueue(engine, "first")
        (first,) = await another.claim(10, lease_s=30, full_routes=[])
        async with unit_of_work_factory(engine, SqlUnitOfWork, relay.hand_off)() as work:
            await work.enqueue([OutboxMessage(request(id="second"), "broker", "k")])
        before = outbox.claims
        await wait_until(lambda: outbox.claims > before + 1)
        assert sent == []
        await another.mark_sent([first.seq])
        await wait_until(lambda: sent == ["second"], timeout_s=1.0)
        running.cancel()


async def test_a_row_claimed_by_a_dead_process_is_sent_by_another(engine: AsyncEngine, url: str) -> None:
    await enqueue_and_claim(engine, "orphan")
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
