"""Throughput of the outbox relay of a whole service process that drains a backlog."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from prebook.coupling.ports import BROKER_ROUTE
from prebook.devstack.errors import UserError
from prebook.lab.bench.baselines import relay as baseline
from prebook.lab.bench.messages import fare_request
from prebook.lab.bench.queues import QUORUM_ARGUMENTS, divert_queue, drain_and_verify, open_channel
from prebook.lab.bench.rounds import RoundFigures, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row
from prebook.lab.bench.testbed import BUG_REMEDY, READY_TIMEOUT_S, BenchTestbed, is_ready, wait_until
from prebook.messaging import addresses
from prebook.messaging.envelope import Envelope
from prebook.messaging.outbox.store import OutboxState
from prebook.postgres.message_column import to_column

ROWS = 20_000
KEYS = 500
POLL_INTERVAL_S = 0.02
DRAIN_TIMEOUT_S = 120.0
DRAIN = Benchmark(
    "relay: drain a backlog in order per key",
    "rows/s",
    Better.HIGHER,
    "hand-written relay (asyncpg, aio-pika)",
    0.9,
    "ours leases, orders by key with any number of relays, and sends CloudEvents headers",
)
SELECT_WAITING = f"SELECT FROM booking.outbox WHERE state = '{OutboxState.WAITING}' LIMIT 1"
INSERT_BACKLOG = """
    INSERT INTO booking.outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
    SELECT id, 'request', 'quote_fare', key, $4, message, now(), key
    FROM unnest($1::text[], $2::text[], $3::text[]) AS inserted (id, key, message)"""


def fare_request_of(run: str, number: int) -> Envelope:
    """Return request ``number`` of ``run``; KEYS ordering keys take turns."""
    return fare_request(f"{run}.{number}.quote_fare", conversation_id=f"{run}-{number % KEYS}")


@dataclass
class RelayPair:
    """Outboxes and queues of both relays, of which only one has work at a time. ``rows``: rows of a backlog."""

    database: asyncpg.Connection
    suite_queue: AbstractQueue
    baseline_queue: AbstractQueue
    rows: int
    run_number: int = 0

    async def drain_suite(self) -> RoundFigures:
        """Fill the suite's outbox and return ``rows_s``, rows sent per second.

        Raises:
            UserError: Messages are missing or out of order in the queue.
        """
        self.run_number += 1
        requests = [fare_request_of(f"r{self.run_number}", number) for number in range(self.rows)]
        columns = ([r.id for r in requests], [r.conversation_id for r in requests], [to_column(r) for r in requests])
        took_s = await self._time_drain(lambda: self._insert_backlog(columns), SELECT_WAITING)
        _raise_if_wrong(await drain_and_verify(self.suite_queue, self.rows, _suite_key_and_number))
        await self.database.execute("TRUNCATE booking.outbox")
        return {"rows_s": self.rows / took_s}

    async def drain_baseline(self) -> RoundFigures:
        """Fill the hand-written relay's outbox and return ``rows_s``, rows sent per second.

        Raises:
            UserError: Messages are missing or out of order in the queue.
        """
        payloads = [json.dumps({"seq": number, "ride": "x" * 150}) for number in range(self.rows)]
        columns = ([f"k{number % KEYS}" for number in range(self.rows)], payloads)

        async def insert() -> None:
            await self.database.execute(baseline.INSERT_BACKLOG, *columns)

        took_s = await self._time_drain(insert, "SELECT FROM baseline.outbox WHERE sent_at IS NULL LIMIT 1")
        _raise_if_wrong(await drain_and_verify(self.baseline_queue, self.rows, _baseline_key_and_number))
        await self.database.execute("TRUNCATE baseline.outbox")
        return {"rows_s": self.rows / took_s}

    async def _insert_backlog(self, columns: Sequence[Sequence[str]]) -> None:
        async with self.database.transaction():
            await self.database.execute(INSERT_BACKLOG, *columns, BROKER_ROUTE)
            await self.database.execute("NOTIFY prebook_outbox_booking")

    async def _time_drain(self, insert: Callable[[], Awaitable[None]], select_unsent: str) -> float:
        async def is_drained() -> bool:
            return not await self.database.fetch(select_unsent)

        await insert()
        started = time.perf_counter()
        await wait_until(is_drained, DRAIN_TIMEOUT_S, POLL_INTERVAL_S)
        return time.perf_counter() - started


@asynccontextmanager
async def open_queues(testbed: BenchTestbed, rows: int) -> AsyncIterator[RelayPair]:
    """Create outboxes and queues of both relays, without running a relay. ``rows``: rows of a backlog."""
    async with testbed.database() as database:
        await database.execute(baseline.SCHEMA)
        connection, channel = await open_channel(testbed)
        service_queue = addresses.request_queue("pricing", "quote_fare")
        suite_queue = await divert_queue(channel, addresses.REQUESTS, "quote_fare", service_queue, "bench.relay")
        baseline_queue = await channel.declare_queue(baseline.QUEUE, durable=True, arguments=QUORUM_ARGUMENTS)
        yield RelayPair(database, suite_queue, baseline_queue, rows)
        await connection.close()


@asynccontextmanager
async def run_relays(testbed: BenchTestbed) -> AsyncIterator[None]:
    """Run booking and the hand-written relay in processes until the block ends."""
    baseline_env = {"BENCH_DSN": testbed.dsn, "BENCH_AMQP_URL": testbed.amqp_url}
    async with (
        testbed.run_module("prebook.booking", env=testbed.envs["booking"]),
        testbed.run_module("prebook.lab.bench.baselines.relay", env=baseline_env) as baseline_relay,
    ):
        await baseline_relay.wait_for_output("ready")
        await wait_until(lambda: is_ready(testbed.urls["booking"]), READY_TIMEOUT_S)
        yield


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure how fast both relays drain a backlog of ROWS rows."""
    async with open_queues(testbed, ROWS) as relays, run_relays(testbed):
        figures = await run_interleaved({"ours": relays.drain_suite, "baseline": relays.drain_baseline}, rounds)
    return [bench_row(DRAIN, figures["ours"]["rows_s"], figures["baseline"]["rows_s"])]


def _raise_if_wrong(problem: str) -> None:
    if problem:
        raise UserError(f"the relay sent a wrong set of messages: {problem}", BUG_REMEDY)


def _suite_key_and_number(message: AbstractIncomingMessage) -> tuple[str, int]:
    return str(message.correlation_id), int(str(message.message_id).split(".")[1])


def _baseline_key_and_number(message: AbstractIncomingMessage) -> tuple[str, int]:
    number = int(json.loads(message.body)["seq"])
    return f"k{number % KEYS}", number
