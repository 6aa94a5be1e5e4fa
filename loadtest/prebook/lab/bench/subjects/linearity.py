"""Linearity: cost of one message with ten times as many rows in outbox, inbox or dead letters.

Measured as CPU time of the database process per message, from the scheduler's statistics in nanoseconds: only the
database's work can depend on the number of rows, and other processes do not disturb the figure.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncEngine

from prebook.coupling.ports import BROKER_ROUTE
from prebook.lab.bench.messages import fare_request
from prebook.lab.bench.rounds import RoundFigures, run_interleaved
from prebook.lab.bench.rows import Benchmark, BenchRow, Better, bench_row, unmeasured_row
from prebook.lab.bench.testbed import BenchTestbed
from prebook.messaging.headers import CAUSE_HEADER
from prebook.messaging.recoverability.dead_letter import DeadLetter
from prebook.operations.dead_letters.recorder import DeadLetterRecorder
from prebook.operations.sql import OperationsSql
from prebook.postgres.engine import create_engine
from prebook.postgres.message_column import to_column
from prebook.postgres.outbox import SqlOutbox
from prebook.postgres.unit_of_work import SqlUnitOfWork, unit_of_work_factory
from prebook.runtime import logging
from prebook.topology.sender_check import accept_any_sender

if TYPE_CHECKING:
    import asyncpg

FACTOR = 10
GOAL = 1.1
CLAIMS = 20
CLAIM_SIZE = 200
ADMISSIONS = 300
DEAD_LETTERS = 150
WARMUP_MESSAGES = 10
NUMBERS = count()
SCHEDSTAT = Path("/proc/self/schedstat")
TableWork = Callable[[AsyncEngine, int], Awaitable[int]]
"""Processes at least the given number of messages and returns how many."""


@dataclass(frozen=True)
class TableBenchmark:
    """Work on one table, with a statement that fills the table.

    ``fill`` takes the number of rows and the parameters that ``fill_parameters`` returns. ``few_rows``: rows of the
    baseline; ours has FACTOR times as many. ``messages``: messages per round.
    """

    benchmark: Benchmark
    service: str
    name: str
    fill: str
    few_rows: int
    work: TableWork
    messages: int
    fill_parameters: Callable[[], Sequence[str]] = field(default=tuple)


def _benchmark(name: str) -> Benchmark:
    note = "an index of ten times the rows may be one level deeper, with fewer of its pages in the processor's cache"
    return Benchmark(f"linearity: {name}", "us/message", Better.LOWER, "a tenth of the rows", GOAL, note)


async def drain_outbox(engine: AsyncEngine, messages: int) -> int:
    """Lease messages in batches and mark them as sent; return their number."""
    outbox = SqlOutbox(engine, "bench")
    done = 0
    while done < messages:
        leased = await outbox.claim(CLAIM_SIZE, lease_s=60.0, full_routes=())
        await outbox.mark_sent([row.seq for row in leased])
        done += len(leased)
    return done


async def admit_requests(engine: AsyncEngine, messages: int) -> int:
    """Record requests in the inbox as awaiting a reply; return their number."""
    begin = unit_of_work_factory(engine, SqlUnitOfWork)
    for number in (next(NUMBERS) for _ in range(messages)):
        envelope = fare_request(f"linear{number}.quote_fare", conversation_id=f"linear{number}")
        async with begin() as work:
            await work.record_message(envelope)
            await work.record_request(envelope)
    return messages


async def record_dead_letters(engine: AsyncEngine, messages: int) -> int:
    """Record dead letters; return their number."""
    recorder = DeadLetterRecorder(unit_of_work_factory(engine, OperationsSql), accept_any_sender)
    for number in (next(NUMBERS) for _ in range(messages)):
        headers = {"ce-id": f"b{number}.quote_fare", "ce-subject": f"b{number}", CAUSE_HEADER: "attempts_exhausted"}
        await recorder.record(DeadLetter("pricing.requests.quote_fare", headers, b"{}"))
    return messages


def _outbox_parameters() -> Sequence[str]:
    return (BROKER_ROUTE, to_column(fare_request("linear.quote_fare", conversation_id="linear")))


FILL_OUTBOX = """
    INSERT INTO pricing.outbox (message_id, kind, flow, conversation_id, route, message, not_before, ordering_key)
    SELECT 'waits' || n, 'request', 'quote_fare', 'k' || n / 10, $2, $3, now(), 'k' || n / 10
    FROM generate_series(1, $1::int) AS n"""
FILL_INBOX = """
    INSERT INTO pricing.inbox (message_id, flow, conversation_id)
    SELECT md5(n::text), 'quote_fare', md5((n / 3)::text) FROM generate_series(1, $1::int) AS n"""
FILL_DEAD_LETTERS = """
    INSERT INTO operations.dead_letter (fingerprint, queue, exchange, routing_key, cause, error_type, error,
        failure_group, flow, kind, type, message_id, conversation_id, trace_id, attempts, first_failed_at,
        last_failed_at, payload, payload_bytes, headers)
    SELECT md5(n::text), 'pricing.requests.quote_fare', 'prebook.requests', 'quote_fare', 'attempts_exhausted',
        'ValueError', 'no fare', md5((n % 20)::text), 'quote_fare', 'request', 'prebook.quote_fare.v1', md5(n::text),
        md5(n::text), md5(n::text), 5, now(), now(), '{}', 2, '{}' FROM generate_series(1, $1::int) AS n"""
TABLES = (
    TableBenchmark(
        _benchmark("claim and mark a message, 50,000 rows in the outbox"),
        service="pricing",
        name="outbox",
        fill=FILL_OUTBOX,
        few_rows=5_000,
        work=drain_outbox,
        messages=CLAIMS * CLAIM_SIZE,
        fill_parameters=_outbox_parameters,
    ),
    TableBenchmark(
        _benchmark("record a message, 50,000 rows in the inbox"),
        service="pricing",
        name="inbox",
        fill=FILL_INBOX,
        few_rows=5_000,
        work=admit_requests,
        messages=ADMISSIONS,
    ),
    TableBenchmark(
        _benchmark("record a dead letter, 20,000 rows in the table"),
        service="operations",
        name="dead_letter",
        fill=FILL_DEAD_LETTERS,
        few_rows=2_000,
        work=record_dead_letters,
        messages=DEAD_LETTERS,
    ),
)


async def measure(testbed: BenchTestbed, rounds: int) -> list[BenchRow]:
    """Measure the cost of a message on each table with few and with many rows."""
    logging.configure("bench", "warning")
    return [await _measure_table(testbed, table, rounds) for table in TABLES]


async def _measure_table(testbed: BenchTestbed, table: TableBenchmark, rounds: int) -> BenchRow:
    if not await asyncio.to_thread(SCHEDSTAT.exists):
        return unmeasured_row(table.benchmark, "the kernel has no /proc/PID/schedstat")
    async with testbed.database() as database:
        sides = {
            "few": _round_runner(testbed, table, database, 1),
            "many": _round_runner(testbed, table, database, FACTOR),
        }
        figures = await run_interleaved(sides, rounds)
    return bench_row(table.benchmark, figures["many"]["us"], figures["few"]["us"])


def _round_runner(
    testbed: BenchTestbed, table: TableBenchmark, database: "asyncpg.Connection[Any]", factor: int
) -> Callable[[], Awaitable[RoundFigures]]:
    url = testbed.envs[table.service]["PREBOOK_DATABASE_URL"]

    async def run_round() -> RoundFigures:
        await _fill(database, table, factor * table.few_rows)
        engine = create_engine(table.service, url, pool_size=1, max_overflow=0)
        try:
            await table.work(engine, WARMUP_MESSAGES)
            before = await _read_cpu_ns(database, table.service)
            done = await table.work(engine, table.messages)
            after = await _read_cpu_ns(database, table.service)
        finally:
            await engine.dispose()
        return {"us": sum(after[pid] - before[pid] for pid in before) / done / 1e3}

    return run_round


async def _fill(database: "asyncpg.Connection[Any]", table: TableBenchmark, rows: int) -> None:
    """Fill the table with ``rows`` rows, vacuumed and analyzed as autovacuum would do."""
    name = f"{table.service}.{table.name}"
    await database.execute(f"TRUNCATE {name} CASCADE")
    await database.execute(table.fill, rows, *table.fill_parameters())
    await database.execute(f"VACUUM ANALYZE {name}")


async def _read_cpu_ns(database: "asyncpg.Connection[Any]", service: str) -> Mapping[int, int]:
    """Return the CPU time of each server process with a connection of ``service``."""
    rows = await database.fetch("SELECT pid FROM pg_stat_activity WHERE application_name = $1", f"prebook-{service}")
    return {row["pid"]: await asyncio.to_thread(_read_process_cpu_ns, row["pid"]) for row in rows}


def _read_process_cpu_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
