"""Several relays on one outbox: nothing missing, nothing out of order per key, whatever is slow, fails or goes away."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.messaging.errors import Unreachable
from prebook.messaging.observer import NullObserver
from prebook.messaging.outbox.handoff import Handoff
from prebook.messaging.outbox.relay import Relay
from prebook.messaging.outbox.store import LeasedRow, OutboxState
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.conditions import poll_until
from tests.databases import Databases, dispose_engine
from tests.messaging.examples import request

KEYS, EACH, WRITERS, RELAYS = 20, 30, 12, 3


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_for("notification")


class Received:
    """What came out, and how often a number came before one that had to be before it."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.out_of_order = 0

    def note(self, key: str, number: int) -> None:
        missing = set(range(number)) - set(self.numbers[key])
        self.out_of_order += bool(missing)
        self.numbers[key].append(number)

    @property
    def complete(self) -> bool:
        return len(self.numbers) == KEYS and all(set(n) == set(range(EACH)) for n in self.numbers.values())

    @property
    def total(self) -> int:
        return sum(len(numbers) for numbers in self.numbers.values())


@asynccontextmanager
async def relaying(
    url: str, owner: str, received: Received, chance: random.Random, hung: asyncio.Event
) -> AsyncIterator[Relay]:
    """As a process would run it. With ``hung`` set it sends nothing more; left, it is gone like a killed one."""

    async def send(row: LeasedRow) -> None:
        if hung.is_set():
            await asyncio.Event().wait()
        await asyncio.sleep(chance.random() * 0.003)
        if chance.random() < 0.05:
            raise Unreachable("a link that fails now and then", retry_after_s=0.01)
        key, _, number = row.envelope.id.partition(".")
        received.note(key, int(number))

    engine = create_engine("notification", url)
    dsn = asyncpg_dsn(url)
    session = await asyncpg.connect(dsn, server_settings={"application_name": owner})
    outbox = SqlOutbox(engine, owner)
    relay = Relay(outbox, NullObserver())
    tasks = [asyncio.create_task(relay.run(send)), asyncio.create_task(releasing(outbox))]
    try:
        yield relay
    finally:
        await session.close()
        for task in (*tasks, *relay._sender._batches._tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await dispose_engine(engine)


async def releasing(outbox: SqlOutbox) -> None:
    while True:
        await outbox.release_orphaned()
        await asyncio.sleep(0.2)


async def write(url: str, chance: random.Random, relays: Sequence[Relay]) -> None:
    """Each key's numbers are committed one after the other; different keys commit in any order, after any delay.

    What is posted is handed to any of the relays, or found by whoever looks first.
    """
    engine = create_engine("notification", url, max_overflow=WRITERS)

    class Slow(SqlUnitOfWork):
        async def flush(self, handoff: Handoff | None = None) -> None:
            await super().flush(handoff)
            await asyncio.sleep(chance.random() * 0.05 if chance.random() < 0.1 else 0)

    ways = [
        unit_of_work_factory(engine, Slow),
        *(unit_of_work_factory(engine, Slow, relay.hand_off) for relay in relays),
    ]
    keys = asyncio.Queue[str]()
    for key in range(KEYS):
        keys.put_nowait(f"k{key}")

    async def writer() -> None:
        while not keys.empty():
            key = keys.get_nowait()
            for number in range(EACH):
                envelope = request(conversation_id=key, id=f"{key}.{number}")
                async with chance.choice(ways)() as work:
                    await work.record_message(envelope)
                    await work.enqueue([OutboxMessage(envelope, "broker", key)])

    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    await dispose_engine(engine)


async def test_three_relays_keep_every_keys_order_while_links_fail_and_one_of_them_dies(url: str) -> None:
    received, chance, hung = Received(), random.Random(7), asyncio.Event()
    async with (
        relaying(url, "relay a", received, chance, asyncio.Event()) as one,
        relaying(url, "relay b", received, chance, asyncio.Event()) as other,
    ):
        async with relaying(url, "relay c", received, chance, hung) as third:
            writing = asyncio.create_task(write(url, chance, (one, other, third)))
            await poll_until(lambda: _at_least(received, KEYS * EACH // 3), timeout_s=30.0)
            hung.set()
            await asyncio.sleep(0.3)
        await writing
        await poll_until(lambda: _complete(received), timeout_s=30.0)

    assert received.out_of_order == 0


async def _at_least(received: Received, number: int) -> bool:
    return received.total >= number


async def _complete(received: Received) -> bool:
    return received.complete


async def test_a_relay_whose_row_another_one_holds_changes_nothing_about_it(url: str) -> None:
    engine = create_engine("notification", url)
    begin = unit_of_work_factory(engine, SqlUnitOfWork)
    async with begin() as work:
        await work.enqueue([OutboxMessage(request(id="fenced.1"), "fenced", "fenced")])
    slow, quick = SqlOutbox(engine, "slow"), SqlOutbox(engine, "quick")
    (old,) = await slow.claim(10, lease_s=0.0, full_routes=["broker"])
    (new,) = await quick.claim(10, lease_s=30.0, full_routes=["broker"])
    await slow.reschedule(old, "too late to say so", delay_s=60.0, refused=False)
    await slow.abandon(old, OutboxState.UNDELIVERABLE, "refused", "too late to say so")
    await slow.mark_sent([old.seq])

    held = await _states(engine, "fenced")
    again = await quick.claim(10, lease_s=30.0, full_routes=["broker"])
    await quick.mark_sent([new.seq])
    ended = await _states(engine, "fenced")
    await dispose_engine(engine)
    assert (held, again, ended) == ([("waiting", 0)], [], [("sent", 0)])


async def test_what_is_let_go_is_not_written_again(url: str) -> None:
    engine = create_engine("notification", url)
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue([OutboxMessage(request(id="freed.1"), "freed", "freed")])
    outbox = SqlOutbox(engine, "freeing")
    others = ["broker", "fenced"]
    (row,) = await outbox.claim(10, lease_s=30.0, full_routes=others)
    await outbox.release_untracked([])
    freed = await _version(engine, row.seq)
    await outbox.release_untracked([])
    again = await _version(engine, row.seq)
    (row,) = await outbox.claim(10, lease_s=30.0, full_routes=others)
    await outbox.mark_sent([row.seq])
    await dispose_engine(engine)
    assert again == freed


async def _version(engine: AsyncEngine, seq: int) -> object:
    async with engine.connect() as connection:
        looked = await connection.execute(text("SELECT ctid::text FROM outbox WHERE seq = :seq"), {"seq": seq})
        return looked.scalar_one()


async def _states(engine: AsyncEngine, route: str) -> list[tuple[str, int]]:
    """And how often it failed."""
    async with engine.connect() as connection:
        looked = await connection.execute(
            text("SELECT state, failures FROM outbox WHERE route = :route"), {"route": route}
        )
        return [(state, failures) for state, failures in looked]


async def test_a_claim_that_waited_for_another_one_takes_nothing_before_what_was_committed_first(url: str) -> None:
    """The second transaction began before the claim did, the first one after that; the first one committed first."""
    engine = create_engine("notification", url)
    begin = unit_of_work_factory(engine, SqlUnitOfWork)
    async with engine.connect() as other_claim, begin() as second:
        await second.record_message(request(id="clock.cause"))
        await other_claim.execute(text("SELECT pg_advisory_xact_lock(hashtext('notification.outbox'))"))
        claim = asyncio.create_task(
            SqlOutbox(engine, "clock").claim(10, lease_s=30.0, full_routes=["broker", "fenced"])
        )
        await poll_until(lambda: _somebody_waits(engine))
        async with begin() as first:
            await first.enqueue([OutboxMessage(request(id="clock.1"), "clock", "clock")])
        await second.enqueue([OutboxMessage(request(id="clock.2"), "clock", "clock")])
        await second.flush()
        await second.connection.commit()
        await other_claim.rollback()
    assert [row.envelope.id for row in await claim] == ["clock.1", "clock.2"]
    await dispose_engine(engine)


async def _somebody_waits(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        waiting = await connection.execute(
            text("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")
        )
        return bool(waiting.scalar_one())


async def test_what_becomes_due_while_a_claim_looks_lets_nothing_pass(url: str) -> None:
    """A row that failed is due a moment after it was looked at; thousands of rows lie between it and the next."""
    engine, met = create_engine("notification", url), False
    fill = text("""
        INSERT INTO outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key, failures,
            claimed_by, claimed_until)
        SELECT :id || n, 'request', 'f', :key, 'moment', '{}', now(), :key, :failures,
            CASE WHEN :held AND n = 1 THEN 'another' END, CASE WHEN :held AND n = 1 THEN now() + interval '60 s' END
        FROM generate_series(1, :many) AS n""")
    soon = text("""
        UPDATE outbox SET not_before = clock_timestamp() + make_interval(secs => :after_s) WHERE message_id = 'moment1'
        RETURNING not_before""")
    claim = text("""
        SELECT ordering_key, seq FROM claim_outbox('moment', 10, interval '30 s', '{broker,fenced,clock}', '{}')""")
    clock = text("SELECT clock_timestamp()")
    async with engine.begin() as connection:
        await connection.execute(fill, {"id": "moment", "key": "k", "failures": 1, "held": False, "many": 1})
        await connection.execute(fill, {"id": "between", "key": "b", "failures": 0, "held": True, "many": 8_000})
        await connection.execute(fill, {"id": "next", "key": "k", "failures": 0, "held": False, "many": 1})
    for after_s in (0.001, 0.002, 0.004, 0.008, 0.016, 0.032):
        async with engine.begin() as connection:
            due = (await connection.execute(soon, {"after_s": after_s})).scalar_one()
        async with engine.connect() as connection:  # what is claimed is rolled back
            began = (await connection.execute(clock)).scalar_one()
            claimed = (await connection.execute(claim)).all()
            met |= began < due < (await connection.execute(clock)).scalar_one()
        assert len(claimed) in (0, 2), "the first and the one behind it, or neither"
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox WHERE route = 'moment'"))
    await dispose_engine(engine)
    assert met, "and it did become due while a claim looked"
