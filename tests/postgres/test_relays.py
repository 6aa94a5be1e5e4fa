"""Several relays on one outbox lose no message and keep the order of every key, under delays, failures and kills."""

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
from prebook.messaging.recoverability.starts import count_starts, with_start
from prebook.messaging.unit_of_work import OutboxMessage
from prebook.postgres.dsn import asyncpg_dsn
from prebook.postgres.engine import create_engine
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from tests.conditions import poll_until
from tests.databases import Databases, dispose_engine
from tests.messaging.examples import request

KEYS = 20
MESSAGES_PER_KEY = 30
WRITERS = 12


@pytest.fixture(scope="module")
def url(databases: Databases) -> str:
    return databases.create_for("notification")


class OrderRecorder:
    """Records the numbers received per key, and how many of them overtook an earlier one."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.out_of_order = 0

    def record(self, key: str, number: int) -> None:
        missing = set(range(number)) - set(self.numbers[key])
        self.out_of_order += bool(missing)
        self.numbers[key].append(number)

    @property
    def is_complete(self) -> bool:
        return len(self.numbers) == KEYS and all(set(n) == set(range(MESSAGES_PER_KEY)) for n in self.numbers.values())

    @property
    def total(self) -> int:
        return sum(len(numbers) for numbers in self.numbers.values())


@asynccontextmanager
async def run_relay(
    url: str, owner: str, received: OrderRecorder, rng: random.Random, hung: asyncio.Event
) -> AsyncIterator[Relay]:
    """Run a relay as a process does, and end it like a killed one. It stops sending when ``hung`` is set."""

    async def send(row: LeasedRow) -> None:
        if hung.is_set():
            await asyncio.Event().wait()
        await asyncio.sleep(rng.random() * 0.003)
        if rng.random() < 0.05:
            raise Unreachable("an unreliable link", retry_after_s=0.01)
        key, _, number = row.envelope.id.partition(".")
        received.record(key, int(number))

    engine = create_engine("notification", url)
    dsn = asyncpg_dsn(url)
    session = await asyncpg.connect(dsn, server_settings={"application_name": owner})
    outbox = SqlOutbox(engine, owner)
    relay = Relay(outbox, NullObserver())
    tasks = [asyncio.create_task(relay.run(send)), asyncio.create_task(keep_releasing(outbox))]
    try:
        yield relay
    finally:
        await session.close()
        for task in (*tasks, *relay._sender._batches._tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await dispose_engine(engine)


async def keep_releasing(outbox: SqlOutbox) -> None:
    while True:
        await outbox.release_orphaned()
        await asyncio.sleep(0.2)


async def write(url: str, rng: random.Random, relays: Sequence[Relay]) -> None:
    """Commit the numbers of each key in order, and different keys concurrently with random delays.

    A row is handed to one of the relays, or claimed by the first relay that polls.
    """
    engine = create_engine("notification", url, max_overflow=WRITERS)

    class SlowUnitOfWork(SqlUnitOfWork):
        async def flush(self, handoff: Handoff | None = None) -> None:
            await super().flush(handoff)
            await asyncio.sleep(rng.random() * 0.05 if rng.random() < 0.1 else 0)

    factories = [
        unit_of_work_factory(engine, SlowUnitOfWork),
        *(unit_of_work_factory(engine, SlowUnitOfWork, relay.hand_off) for relay in relays),
    ]
    keys = asyncio.Queue[str]()
    for key in range(KEYS):
        keys.put_nowait(f"k{key}")

    async def writer() -> None:
        while not keys.empty():
            key = keys.get_nowait()
            for number in range(MESSAGES_PER_KEY):
                envelope = request(conversation_id=key, id=f"{key}.{number}")
                async with rng.choice(factories)() as work:
                    await work.record_message(envelope)
                    await work.enqueue([OutboxMessage(envelope, "broker", key)])

    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    await dispose_engine(engine)


async def test_three_relays_keep_the_order_of_every_key_while_sends_fail_and_one_relay_dies(url: str) -> None:
    received = OrderRecorder()
    rng = random.Random(7)
    hung = asyncio.Event()
    async with (
        run_relay(url, "relay a", received, rng, asyncio.Event()) as one,
        run_relay(url, "relay b", received, rng, asyncio.Event()) as other,
    ):
        async with run_relay(url, "relay c", received, rng, hung) as third:
            writing = asyncio.create_task(write(url, rng, (one, other, third)))
            await poll_until(lambda: _has_received(received, KEYS * MESSAGES_PER_KEY // 3), timeout_s=30.0)
            hung.set()
            await asyncio.sleep(0.3)
        await writing
        await poll_until(lambda: _is_complete(received), timeout_s=30.0)

    assert received.out_of_order == 0


async def _has_received(received: OrderRecorder, number: int) -> bool:
    return received.total >= number


async def _is_complete(received: OrderRecorder) -> bool:
    return received.is_complete


async def test_a_relay_cannot_change_a_row_leased_by_another(url: str) -> None:
    engine = create_engine("notification", url)
    begin = unit_of_work_factory(engine, SqlUnitOfWork)
    async with begin() as work:
        await work.enqueue([OutboxMessage(request(id="fenced.1"), "fenced", "fenced")])
    slow = SqlOutbox(engine, "slow")
    quick = SqlOutbox(engine, "quick")
    (old,) = await slow.claim(10, lease_s=0.0, full_routes=["broker"])
    (new,) = await quick.claim(10, lease_s=30.0, full_routes=["broker"])
    await slow.reschedule(old, "after the lease", delay_s=60.0, refused=False)
    await slow.abandon(old, OutboxState.UNDELIVERABLE, "refused", "after the lease")
    await slow.mark_sent([old.seq])

    after_writes = await _states(engine, "fenced")
    second_claim = await quick.claim(10, lease_s=30.0, full_routes=["broker"])
    await quick.mark_sent([new.seq])
    ended = await _states(engine, "fenced")
    await dispose_engine(engine)
    assert (after_writes, second_claim, ended) == ([("waiting", 0)], [], [("sent", 0)])


async def test_a_released_row_is_not_written_again(url: str) -> None:
    engine = create_engine("notification", url)
    async with unit_of_work_factory(engine, SqlUnitOfWork)() as work:
        await work.enqueue([OutboxMessage(request(id="released.1"), "released", "released")])
    outbox = SqlOutbox(engine, "releasing")
    others = ["broker", "fenced"]
    (row,) = await outbox.claim(10, lease_s=30.0, full_routes=others)
    await outbox.release_untracked([])
    released = await _version(engine, row.seq)
    await outbox.release_untracked([])
    unchanged = await _version(engine, row.seq)
    (row,) = await outbox.claim(10, lease_s=30.0, full_routes=others)
    await outbox.mark_sent([row.seq])
    await dispose_engine(engine)
    assert unchanged == released


async def _version(engine: AsyncEngine, seq: int) -> object:
    """Return the physical position of a row version, which changes with every write."""
    async with engine.connect() as connection:
        result = await connection.execute(text("SELECT ctid::text FROM outbox WHERE seq = :seq"), {"seq": seq})
        return result.scalar_one()


async def _states(engine: AsyncEngine, route: str) -> list[tuple[str, int]]:
    """Return state and number of failures of every row of a route."""
    async with engine.connect() as connection:
        result = await connection.execute(
            text("SELECT state, failures FROM outbox WHERE route = :route"), {"route": route}
        )
        return [(state, failures) for state, failures in result]


async def test_a_claim_that_waited_for_another_claim_keeps_the_commit_order(url: str) -> None:
    """The second transaction begins before the claim and the first one after it; the first one commits first."""
    engine = create_engine("notification", url)
    begin = unit_of_work_factory(engine, SqlUnitOfWork)
    async with engine.connect() as other_claim, begin() as second:
        await second.record_message(request(id="clock.cause"))
        await other_claim.execute(text("LOCK TABLE claim_lock IN SHARE UPDATE EXCLUSIVE MODE"))
        claim = asyncio.create_task(
            SqlOutbox(engine, "clock").claim(10, lease_s=30.0, full_routes=["broker", "fenced"])
        )
        await poll_until(lambda: _is_claim_waiting(engine))
        async with begin() as first:
            await first.enqueue([OutboxMessage(request(id="clock.1"), "clock", "clock")])
        await second.enqueue([OutboxMessage(request(id="clock.2"), "clock", "clock")])
        await second.flush()
        await second.connection.commit()
        await other_claim.rollback()
    assert [row.envelope.id for row in await claim] == ["clock.1", "clock.2"]
    await dispose_engine(engine)


async def _is_claim_waiting(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        waiting = await connection.execute(
            text("SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'claim_lock'::regclass AND NOT granted)")
        )
        return bool(waiting.scalar_one())


async def test_a_row_that_becomes_due_during_a_claim_is_not_overtaken(url: str) -> None:
    """A failed row becomes due just after the claim has read it; thousands of rows are between it and the next."""
    engine = create_engine("notification", url)
    became_due_during_claim = False
    fill = text("""
        INSERT INTO outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key, failures,
            claimed_by, claimed_until)
        SELECT :id || n, 'request', 'f', :key, 'moment', '{}', now(), :key, :failures,
            CASE WHEN :held AND n = 1 THEN 'another' END, CASE WHEN :held AND n = 1 THEN now() + interval '60 s' END
        FROM generate_series(1, :many) AS n""")
    reschedule = text("""
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
            due = (await connection.execute(reschedule, {"after_s": after_s})).scalar_one()
        async with engine.connect() as connection:  # the claim is rolled back
            began = (await connection.execute(clock)).scalar_one()
            claimed = (await connection.execute(claim)).all()
            became_due_during_claim |= began < due < (await connection.execute(clock)).scalar_one()
        assert len(claimed) in (0, 2), "the claim takes both rows or neither"
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM outbox WHERE route = 'moment'"))
    await dispose_engine(engine)
    assert became_due_during_claim, "the tested moment occurred at least once"


async def test_a_row_that_is_taken_up_keeps_its_lease_and_its_count(url: str) -> None:
    engine = create_engine("notification", url)
    begin = unit_of_work_factory(engine, SqlUnitOfWork)
    async with begin() as work:
        await work.enqueue([OutboxMessage(request(id="started.1"), "started", "started")])
    first = SqlOutbox(engine, "first")
    second = SqlOutbox(engine, "second")
    (old,) = await first.claim(10, lease_s=0.0, full_routes=["broker"])
    (taken,) = await second.claim(10, lease_s=30.0, full_routes=["broker"])
    await second.record_start(taken, with_start(taken.envelope))
    await first.record_start(old, old.envelope)
    while_leased = await first.claim(10, lease_s=30.0, full_routes=["broker"])
    await second.release([taken.seq])
    (again,) = await first.claim(10, lease_s=30.0, full_routes=["broker"])
    await first.mark_sent([again.seq])
    await dispose_engine(engine)

    assert (taken.is_claimed, while_leased) == (True, [])
    assert count_starts(again.envelope) == 1, "the relay that had lost its lease changed nothing"
